"""When cron expressions fire, also on the days when clocks are set."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.cron import Cron
from podling.core.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BERLIN = "Europe/Berlin"
BEFORE_SPRING = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)  # 02:00 is 03:00 on the next day
BEFORE_AUTUMN = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)  # 03:00 is 02:00 again on the next day


def fires(expression: str, zone: str, after: datetime, count: int) -> list[str]:
    """Return the next fires on that zone's clocks, without the year."""
    found = Cron(expression, zone, now=NOW).next(after, count)
    return [at.astimezone(ZoneInfo(zone)).isoformat()[5:] for at in found]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 3 * * *", "2026-03-02T03:00:00"),
        ("*/15 * * * *", "2026-03-01T12:15:00"),
        ("30 6 * * MON-FRI", "2026-03-02T06:30:00"),
        ("0 0 1,15 * *", "2026-03-15T00:00:00"),
        ("0 0 13 * FRI", "2026-03-06T00:00:00"),  # the 13th, or any Friday
        ("0 0 */2 * FRI", "2026-03-13T00:00:00"),  # an odd day that is a Friday
        ("0 0 L * *", "2026-03-31T00:00:00"),
        ("0 0 * * 5#2", "2026-03-13T00:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("*/10 * * * * *", "2026-03-01T12:00:10"),
        ("5 0 3 * * *", "2026-03-02T03:00:05"),
        ("@daily", "2026-03-02T00:00:00"),
        ("@Weekly", "2026-03-08T00:00:00"),
        ("@every 30s", "2026-03-01T12:00:30"),
        ("@every 5h", "2026-03-01T13:00:00"),  # counted from 1970, so that it is the same for everybody
    ],
)
def test_an_expression_fires_when_it_says(expression: str, first: str) -> None:
    assert Cron(expression, now=NOW).next(NOW, 1) == [datetime.fromisoformat(first).replace(tzinfo=UTC)]


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 30 2 * * *"])
def test_a_time_that_does_not_exist_is_made_up_for_right_after(expression: str) -> None:
    assert fires(expression, BERLIN, BEFORE_SPRING, 2) == ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 30 2 * * *"])
def test_a_time_that_is_twice_fires_the_first_time_only(expression: str) -> None:
    assert fires(expression, BERLIN, BEFORE_AUTUMN, 2) == ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]
    between = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert fires(expression, BERLIN, between, 1) == ["10-26T02:30:00+01:00"]


def test_what_fires_every_so_often_goes_on_through_both() -> None:
    spring, autumn = datetime(2026, 3, 29, 0, 29, tzinfo=UTC), datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    assert fires("*/30 * * * *", BERLIN, spring, 3) == [
        *("03-29T01:30:00+01:00", "03-29T03:00:00+02:00", "03-29T03:30:00+02:00")
    ]
    assert fires("*/30 * * * *", BERLIN, autumn, 4) == [
        *("10-25T02:30:00+02:00", "10-25T02:00:00+01:00", "10-25T02:30:00+01:00", "10-25T03:00:00+01:00")
    ]


def test_several_seconds_of_a_fixed_time_keep_their_order_in_a_missing_hour() -> None:
    assert fires("0,40 30 2 * * *", BERLIN, BEFORE_SPRING, 3) == [
        *("03-29T03:00:00+02:00", "03-29T03:00:40+02:00", "03-30T02:30:00+02:00")
    ]


@given(
    expression=st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15 0 2 * * *", "* * * * *", "0 0 * * *", "@hourly"]
    ),
    zone=st.sampled_from([BERLIN, "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    hours=st.integers(0, 365 * 24),
)
def test_fires_strictly_increase_whatever_clocks_do(expression: str, zone: str, hours: int) -> None:
    start = NOW + timedelta(hours=hours, minutes=17)
    found = Cron(expression, zone, now=NOW).next(start, 40)
    assert start < found[0] and all(one < other for one, other in pairwise(found))
    # Wherever one begins to count, the fires are the same.
    assert Cron(expression, zone, now=NOW).next(found[9], 30) == found[10:]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 30 2 *", "day-of-month"),
        ("0 0 31 4,6 *", "day-of-month"),
        ("*/0 * * * *", "0 to 59"),
        ("0 25 * * *", "0 to 23"),
        ("0 0 * * MOON", "SUN to SAT"),
        ("* * * * * * *", "7 fields"),
        ("", "0 fields"),
        ("@reboot", "is not known"),
        ("@every 0s", "is not known"),
        ("9" * 5000 + " * * * *", "200 characters"),
        ("5-1 * * * *", "minute"),
    ],
)
def test_what_never_fires_or_cannot_be_read_is_refused(expression: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        Cron(expression, now=NOW)
    assert refused.value.details["field"] == "cron"


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "America", "", "right/UTC"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="no known time zone") as refused:
        Cron("* * * * *", zone, now=NOW)
    assert refused.value.details["field"] == "timeZone"


def test_the_newest_fires_of_years_are_found_at_once() -> None:
    long_ago, second = datetime(2016, 1, 1, tzinfo=UTC), timedelta(seconds=1)
    every_second, yearly = Cron("* * * * * *", now=NOW), Cron("0 3 1 1 *", now=NOW)
    assert every_second.newest(long_ago, NOW, 3) == ([NOW - 2 * second, NOW - second, NOW], False)
    assert every_second.newest(NOW - 2 * second, NOW, 3) == ([NOW - second, NOW], True)
    assert [at.year for at in yearly.newest(long_ago, NOW, 3)[0]] == [2024, 2025, 2026]
    assert yearly.newest(NOW, NOW, 3) == ([], True)
