"""Caps are never exceeded: the largest overlap, from the attempts' own intervals, with a leader killed."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Any

from podling.core.protocol import Assignment
from tests.master.fake_worker import FakeWorker
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster, eventually
from tests.overlap import Interval, interval_of, largest_overlap

TASKS, CAP, KEYS, PER_KEY = 60, 7, 3, 2


async def test_no_cap_is_exceeded_while_the_leader_is_killed(masters: Masters) -> None:
    options = {"lease_seconds": SHORT_LEASE_SECONDS * 2}
    leader, other = await masters.start("one", **options), await masters.start("two", **options)
    assert (await other.api.put("/queues/etl", {"maxInFlight": CAP, "maxPerKey": PER_KEY})).status == 201
    assert (await other.api.put("/queues/*", {"maxInFlight": CAP + 2})).status == 201
    workers = [await other.worker(f"node-{number}", slots=20) for number in range(2)]
    working = [asyncio.create_task(_work(worker)) for worker in workers]
    try:
        ids = [
            await _submit(master, number)
            for number, master in zip(range(TASKS), _both(leader, other), strict=False)
        ]
        await _some_ended(other, 15)
        await _kill(leader)
        await eventually(lambda: _ended(other, TASKS), "all tasks to end", seconds=30)
    finally:
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    assert other.server.context.leads
    intervals = [item for task_id in ids for item in await _intervals(other, task_id)]
    assert len(intervals) >= TASKS
    assert 1 < largest_overlap(interval for interval, *_ in intervals) <= CAP + 2
    assert 1 < largest_overlap(interval for interval, queue, _ in intervals if queue == "etl") <= CAP
    for number in range(KEYS):
        shared = (interval for interval, _, key in intervals if key == f"key-{number}")
        assert 1 <= largest_overlap(shared) <= PER_KEY


def _both(one: RunningMaster, two: RunningMaster) -> Iterable[RunningMaster]:
    return ((one, two)[number % 2] for number in count())


async def _submit(master: RunningMaster, number: int) -> str:
    fields: dict[str, Any] = {"queue": "etl" if number % 4 else "mail"}
    if number % 3 == 1 and fields["queue"] == "etl":
        fields["concurrencyKey"] = f"key-{number // 3 % KEYS}"
    return str((await master.api.submit(**fields))["taskId"])


async def _kill(master: RunningMaster) -> None:
    """End all that the master does at once: it neither resigns nor finishes anything."""
    for running in master.server._running:
        running.cancel()
    await asyncio.gather(*master.server._running, return_exceptions=True)


async def _work(worker: FakeWorker) -> None:
    seen: set[tuple[str, int]] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            await worker.until(lambda: len(worker.assignments) > len(seen), "work", seconds=60)
            for work in worker.assignments:
                if (work.task_id, work.attempt) not in seen:
                    group.create_task(_run(worker, work))
                seen.add((work.task_id, work.attempt))


async def _run(worker: FakeWorker, work: Assignment) -> None:
    with suppress(AssertionError):  # a report that nobody answers is sent again by a real worker
        await worker.start(work)
        await asyncio.sleep(0.05)  # what the task takes
        await worker.end(work)


async def _some_ended(master: RunningMaster, least: int) -> None:
    await eventually(lambda: _ended(master, least), f"{least} tasks to end")


async def _ended(master: RunningMaster, least: int) -> bool:
    return len((await master.api.get("/tasks", status="completed")).json) >= least


async def _intervals(master: RunningMaster, task_id: str) -> list[tuple[Interval, str, str | None]]:
    task = await master.api.task(task_id)
    rows = (await master.api.get(f"/tasks/{task_id}/attempts")).json
    found = (interval_of(row) for row in rows)
    return [(interval, task["queue"], task["concurrencyKey"]) for interval in found if interval is not None]
