"""The soak's numbers, and how they are shown."""

import os
from dataclasses import replace
from pathlib import Path

from tests.soak.measures import Bounds, Times, Usage, grown, usage_of
from tests.soak.report import page, text

THEN = Usage(resident_mib=60.0, descriptors=20, threads=5, connections=8, age_minutes=1.0, asyncio_tasks=40)


def result() -> dict[str, object]:
    times = Times()
    times.add("LISTEN back", 6.0)
    times.add("LISTEN back", 7.0)
    shown = {
        "resident_mib": 60.0,
        "descriptors": 20,
        "threads": 5,
        "connections": 8,
        "age_minutes": 1.0,
        "asyncio_tasks": 40,
    }
    findings = (
        "lost",
        "doubled",
        "startedTwice",
        "inconsistent",
        "wrongEnd",
        "overlaps",
        "held",
        "forgotten",
    )
    return {
        "date": "2026-01-31T12:00:00+00:00", "commit": "abc1234", "machine": "a machine", "minutes": 60,
        "seed": 7, "leaseSeconds": 6, "tasks": {"docker": 1200, "process": 8000},
        "faults": {"leader killed": 9},
        "repeatedSubmits": 3, "staleSent": {"old status": 5}, "staleAccepted": 0,
        "findings": dict.fromkeys(findings, 0), "failures": [], "leftBehind": 0,
        "streams": {"broken off": 1000},
        "times": times.summary(), "before": {"master-1": shown}, "after": {"master-1": shown}, "grown": [],
    }  # fmt: skip


def test_times_are_summarised() -> None:
    times = Times()
    for number in range(1, 101):
        times.add("restart", number / 10)
    assert times.summary() == {"restart": {"count": 100, "p50": 5.0, "p99": 9.9, "max": 10.0}}


def test_what_grew_beyond_its_bounds_is_told() -> None:
    bounds = Bounds(resident_factor=1.5, resident_mib=10, descriptors=4, connections=2, asyncio_tasks=5)
    same = replace(THEN, resident_mib=90.0, descriptors=24, connections=10, asyncio_tasks=45)
    assert grown({"a": THEN}, {"a": same, "new": same}, bounds) == []
    for more in (
        replace(THEN, resident_mib=91.0),
        replace(THEN, descriptors=25),
        replace(THEN, connections=11),
        replace(THEN, asyncio_tasks=46),
    ):
        assert len(grown({"a": THEN}, {"a": more}, bounds)) == 1, more


def test_the_usage_of_a_process_is_read(tmp_path: Path) -> None:
    before = usage_of(os.getpid(), None, 90)
    with (tmp_path / "file").open("w"):
        after = usage_of(os.getpid(), None, 90)
    assert after.descriptors == before.descriptors + 1
    assert before.resident_mib > 1
    assert before.age_minutes == 1.5


def test_the_result_is_shown_to_people_and_as_a_page() -> None:
    for shown in (text(result()), page(result())):
        for wanted in ("abc1234", "9200", "leader killed", "0 of 5", "LISTEN back", "60 → 60", "7.00"):
            assert wanted in shown, wanted
    assert page(result()).startswith("# The long run\n")
    assert "| docker | 1200 |" in page(result())
    assert "| LISTEN back | 2 | 6.00 | 7.00 | 7.00 | 8 |" in page(result())
