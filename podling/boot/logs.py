"""The log of a program: lines of text or JSON objects on stderr, without passwords."""

import json
import logging
import sys
from datetime import UTC, datetime

from podling.boot.redaction import redact

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def set_up_logging(level: str, format: str) -> None:
    """Send every logger of level `level` and above to stderr; `format` is `text` or `json`.

    Calling it again replaces what was set up before.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_named)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("urllib3", "docker", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    # Its warnings are tracebacks of every try while the database is away; the store tells that itself.
    logging.getLogger("asyncpg.pool").setLevel(max(logging.ERROR, logging.getLogger().level))


def _named(record: logging.LogRecord) -> bool:
    """Say of which of several databases a line is."""
    front = sys.modules.get("podling.kit.front")  # programs without it serve none
    if front is not None and (name := front.who_is_at_work()):
        record.database = name
    return True


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """One line a record; the fields given by `extra` follow as name=value."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _time(record)

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={item}" for name, item in _extra(record).items())
        return redact(super().format(record) + extra)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields of `extra`, and error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        line |= {name: redact(str(item)) for name, item in _extra(record).items()}
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: item for name, item in vars(record).items() if name not in _STANDARD}
