"""Words and numbers as people read and write them."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.errors import InvalidInput

# Control characters, formatting ones (which can turn the text around), surrogates, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def visible(text: object) -> str:
    """Return the text with every character that could play with a terminal shown as an escape."""
    given = str(text)
    return given if given.isascii() and given.isprintable() else "".join(map(_shown, given))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")


def parse_time(text: str | None) -> datetime | None:
    """Read a time of the API."""
    return datetime.fromisoformat(text) if text else None


def age(at: str | None, now: datetime) -> str:
    """Return how long ago that was, in one unit: `40s`, `3m`, `2h`, `5d`."""
    then = parse_time(at)
    return "-" if then is None else span((now - then).total_seconds())


def span(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down."""
    whole = max(int(seconds), 0)
    for size, unit, most in ((1, "s", 120), (60, "m", 7200), (3600, "h", 172800)):
        if whole < most:
            return f"{whole // size}{unit}"
    return f"{whole // 86400}d"


def parse_duration(text: str, option: str) -> float:
    """Read seconds: `90`, `10m`, `1h30m`. Raises InvalidInput that names the option."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f"{option}: {text!r} is not a duration; write 90, 30s, 10m or 1h30m")
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)


def parse_since(text: str, now: datetime, flag: str = "--since") -> str:
    """Return the RFC 3339 time for a duration before `now`, or for a time as it was given."""
    return _parse_time_of(text, flag, now, -1)


def parse_moment(text: str, option: str, now: datetime) -> str:
    """Return the RFC 3339 time for a duration after `now`, or for a time as it was given."""
    return _parse_time_of(text, option, now, 1)


def _parse_time_of(text: str, option: str, now: datetime, direction: int) -> str:
    if _DURATION.match(text) and "-" not in text and "T" not in text:
        seconds = direction * parse_duration(text, option)
        try:
            return rfc3339(now + timedelta(seconds=seconds))
        except OverflowError:
            raise InvalidInput(f"{option}: {text} is farther away than the calendar reaches") from None
    try:
        given = datetime.fromisoformat(text)
        return rfc3339(given if given.tzinfo else given.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise InvalidInput(f"{option}: {text!r} is neither a duration (10m) nor a time") from None


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id the same number of leading characters, enough to tell these apart.

    An id ends at a dash if it can, and shows its whole time of creation (13 characters).
    """
    for length in (13, 18, 23):
        if len({id_[:length] for id_ in ids}) == len(set(ids)):
            return {id_: id_[:length] for id_ in ids}
    return {id_: id_ for id_ in ids}


def megabytes(amount: int) -> str:
    """Return bytes in the largest binary unit that leaves a number above one."""
    size, units = float(amount), ["B", "Ki", "Mi", "Gi", "Ti"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f}{units[0]}" if size >= 10 or size == int(size) else f"{size:.1f}{units[0]}"


def cores(millicores: int) -> str:
    return f"{millicores / 1000:g}"


def described(item: Any) -> str:
    """Return a sentence for an item of the API that is a string or an object with a message."""
    if isinstance(item, dict):
        return str(item.get("message") or ", ".join(f"{name} {given}" for name, given in item.items()))
    return str(item)
