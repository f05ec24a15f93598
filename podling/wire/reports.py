"""Reports as workers send them: each is read by itself, so that one bad item harms no other."""

from datetime import datetime
from typing import Any

import orjson

from podling.core.errors import InvalidInput
from podling.core.protocol import Report
from podling.core.task import ContainerState
from podling.core.value import changed, value
from podling.wire.codec import decode_leniently

MOST_CONTAINERS = 64
LONGEST_TEXT = 4096
_HIGHEST_COUNT = 2**31 - 1


@value
class _Items:
    items: tuple[Report, ...]


def read_all(body: str) -> tuple[Report, ...]:
    """Return the reports of a message in which every one is good. Raises InvalidInput."""
    return tuple(map(_checked, decode_leniently(_Items, body).items))


def read_reports(plain: Any) -> tuple[tuple[Report, ...], tuple[int, ...]]:
    """Return the reports that can be read, and the sequence numbers of those that cannot.

    Raises InvalidInput for an item without a number: there is nothing to answer it by.
    """
    if not isinstance(plain, list):
        raise InvalidInput.field("items", "must be a list")
    good: list[Report] = []
    bad: list[int] = []
    for item in plain:
        try:
            good.append(_checked(decode_leniently(Report, orjson.dumps(item))))
        except (InvalidInput, orjson.JSONEncodeError):
            bad.append(_sequence(item))
    return tuple(good), tuple(bad)


def _sequence(item: Any) -> int:
    number = item.get("sequence") if isinstance(item, dict) else None
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidInput.field("items.sequence", "must be a whole number")
    return number


def _checked(report: Report) -> Report:
    """Return the report with texts of a bounded length. Raises InvalidInput for what cannot be."""
    _check_count("attempt", report.attempt)
    _check_exit(report.exit_code)
    for at in (report.at, report.started_at, report.finished_at):
        _check_time(at)
    if len(report.containers) > MOST_CONTAINERS:
        raise InvalidInput.field("containers", f"must be at most {MOST_CONTAINERS}")
    return changed(
        report,
        error=_short(report.error),
        error_code=_short(report.error_code, 64),
        containers=tuple(map(_checked_container, report.containers)),
    )


def _checked_container(container: ContainerState) -> ContainerState:
    _check_count("restartCount", container.restart_count)
    _check_exit(container.exit_code)
    for at in (container.started_at, container.finished_at):
        _check_time(at)
    return changed(
        container,
        name=container.name[:LONGEST_TEXT],
        container_id=_short(container.container_id),
        image_digest=_short(container.image_digest),
        error=_short(container.error),
    )


def _short(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    return text if text is None else text[:longest]


def _check_count(name: str, number: int) -> None:
    if not 0 <= number <= _HIGHEST_COUNT:
        raise InvalidInput.field(name, f"must be from 0 to {_HIGHEST_COUNT}")


def _check_exit(code: int | None) -> None:
    if code is not None and not 0 <= code <= 255:
        raise InvalidInput.field("exitCode", "must be from 0 to 255, or null if it is not known")


def _check_time(at: datetime | None) -> None:
    """A worker's clock may be years off; without a zone it means nothing at all."""
    if at is not None and (at.utcoffset() is None or not 1970 <= at.year < 9999):
        raise InvalidInput.field("at", "must be a time with a zone, in the years 1970 to 9998")
