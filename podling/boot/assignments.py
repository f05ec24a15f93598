"""Files of `name = value` lines: `.env` and `--config`."""

import re
from collections.abc import Mapping

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(.*)")
_COMMENT = re.compile(r"(^|\s)#.*$")


def read_assignments(text: str) -> Mapping[str, str]:
    """Return the settings by name; the last line with a name counts.

    Empty lines and lines with `#` in front are skipped, `export` is allowed, and a value may stand in
    quotes, where `#` is no comment. Raises ValueError with the number of the first line that is neither.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise ValueError(f"line {number} is not of the form name = value")
        settings[match[1]] = _unquoted(match[2], number)
    return settings


def _unquoted(text: str, number: int) -> str:
    if text[:1] not in ("'", '"'):
        return _COMMENT.sub("", text).strip()
    inside, quote, rest = text[1:].partition(text[0])
    if not quote or _COMMENT.sub("", rest).strip():
        raise ValueError(f"line {number} has a quote that is not closed at its end")
    return inside
