"""When a schedule fires: cron expressions in a time zone, as Debian's cron reads them.

The moments are in UTC and strictly increase. What has a fixed time fires once a day also when clocks are
set: right after an hour that is left out, and the first time in one that comes twice. What begins with a
star in the minute or the hour goes on as time does: nothing in an hour that is left out, twice in one that
comes twice. Day of month and day of week are joined by "or" unless one of them begins with a star.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from heapq import merge
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from podling.core.errors import InvalidInput

MOST_CHARACTERS = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = re.compile(r"@every ([1-9][0-9]{0,5})(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,31}){0,2}", re.ASCII)
_NO_ZONES = ("right/", "posix/", "localtime", "posixrules", "Factory")  # not the same on every machine
_FIELDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last) or LW (the last weekday)",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT (0 and 7 are Sunday), 5L (the last Friday) or 5#2 (the second)",
}


class Cron:
    """An expression that was understood and fires some time. See the module."""

    def __init__(self, expression: str, time_zone: str = "UTC", *, now: datetime) -> None:
        """Raises InvalidInput for what cannot be read, never fires, or an unknown zone."""
        self._zone = zone_of(time_zone)
        text = " ".join(expression.split())
        if len(text) > MOST_CHARACTERS:
            raise InvalidInput.field("cron", f"must have at most {MOST_CHARACTERS} characters")
        every = _EVERY.fullmatch(text.lower())
        self._every = None if every is None else int(every[1]) * _UNITS[every[2]]
        self._expressions = () if self._every else _parse(text)
        if next(self.after(now), None) is None:
            raise InvalidInput.field("cron", f"{text!r} never fires: there is no such date in 50 years")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Return the times at which it fires later than that moment, in UTC, one by one."""
        if self._every is not None:
            return self._multiples(moment.astimezone(UTC), self._every)
        found = merge(*(self._times(parts, moment) for parts in self._expressions))
        return _increasing(found, moment)

    def next(self, moment: datetime, count: int) -> list[datetime]:
        """Return the first so many of them."""
        return list(islice(self.after(moment), count))

    def newest(self, after: datetime, until: datetime, most: int) -> tuple[list[datetime], bool]:
        """Return the last times in `(after, until]`, `most` at most, and whether these are all of them.

        Looks back only as far as it has to: a schedule may have been left alone for years.
        """
        span = timedelta(minutes=1)
        while True:
            start = max(after, until - span)
            times = list(_until(self.after(start), until))
            if start == after or len(times) > most:
                return times[-most:], start == after and len(times) <= most
            span *= 2

    def _times(self, parts: tuple[str, int], moment: datetime) -> Iterator[datetime]:
        expression, offset = parts
        start = moment - timedelta(seconds=offset)
        try:
            for at in CronSim(expression, start.astimezone(self._zone)):
                yield at.astimezone(UTC) + timedelta(seconds=offset)
        except OverflowError:  # the end of the calendar
            return

    def _multiples(self, moment: datetime, step: int) -> Iterator[datetime]:
        passed = int((moment - _EPOCH).total_seconds()) // step
        while True:
            passed += 1
            yield _EPOCH + timedelta(seconds=passed * step)


def zone_of(name: str) -> tzinfo:
    """Return the time zone of this name. Raises InvalidInput."""
    if name == "UTC":
        return UTC
    try:
        if not _ZONE.fullmatch(name) or name.startswith(_NO_ZONES):
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problem = f"{name[:80]!r} is no known time zone; write UTC, Europe/Berlin, America/New_York and so on"
        raise InvalidInput.field("timeZone", problem) from None


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[tuple[str, int], ...]:
    """Return expressions for the library, each with the seconds by which its times are put off.

    It has Debian's rules for five fields only, so that fixed times with seconds are told by those.
    """
    expression = _NAMES.get(text.lower(), text)
    if expression.startswith("@"):
        known = ", ".join(_NAMES)
        problem = f"{text!r} is not known; write five fields, or one of {known}, @every 30s"
        raise InvalidInput.field("cron", problem)
    fields = expression.split()
    if len(fields) not in (5, 6):
        problem = (
            f"{text!r} has {len(fields)} fields; write minute, hour, day of month, month and day of week,"
            " with the second before them if you want one"
        )
        raise InvalidInput.field("cron", problem)
    seconds = _check(expression)
    if len(fields) == 5 or fields[1].startswith("*") or fields[2].startswith("*"):
        return ((expression, 0),)
    return tuple((" ".join(fields[1:]), second) for second in sorted(seconds))


def _check(expression: str) -> set[int]:
    """Return the seconds that it names. Raises InvalidInput."""
    try:
        return set(CronSim(expression, _EPOCH).seconds)
    except (CronSimError, ValueError, AssertionError) as error:
        name = str(error).removeprefix("Bad ")
        meant = f"; it may have {_FIELDS[name]}, lists, ranges and steps of them" if name in _FIELDS else ""
        problem = f"the {name} of {expression!r} cannot be understood, or never comes{meant}"
        raise InvalidInput.field("cron", problem) from None


def _increasing(times: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    """Leave out what the setting of clocks brings a second time."""
    last = after
    for at in times:
        if at > last:
            yield at
            last = at


def _until(times: Iterator[datetime], end: datetime) -> Iterator[datetime]:
    for at in times:
        if at > end:
            return
        yield at
