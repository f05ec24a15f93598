"""The async tools, each by itself."""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from podling.core.errors import NotFound, StoreUnavailable
from podling.kit.batcher import Batcher
from podling.kit.clock import SystemClock
from podling.kit.ids import new_id
from podling.kit.loop import Loop
from podling.kit.wakeup import Wakeup


class Writer:
    """Doubles numbers; holds each batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.begun.release()
        await self.gate.wait()
        if 13 in items:
            raise StoreUnavailable("away")
        return [NotFound.of("task") if item < 0 else item * 2 for item in items]


async def test_what_arrives_while_a_batch_is_written_makes_up_the_next() -> None:
    writer = Writer()
    batcher: Batcher[int, int] = Batcher(writer, 100)
    first = batcher.enqueue(1)
    await writer.begun.acquire()
    others = [batcher.enqueue(number) for number in (2, 3, 4)]
    assert writer.batches == [[1]]
    writer.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert writer.batches == [[1], [2, 3, 4]]


async def test_callers_that_are_ready_together_share_a_batch_of_bounded_size() -> None:
    writer = Writer()
    writer.gate.set()
    batcher: Batcher[int, int] = Batcher(writer, 4)
    assert await asyncio.gather(*(batcher.put(number) for number in range(10))) == [n * 2 for n in range(10)]
    assert writer.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_what_is_put_together_is_answered_together_in_its_order() -> None:
    writer = Writer()
    writer.gate.set()
    batcher: Batcher[int, int] = Batcher(writer, 2)
    answers = await batcher.put_all([1, -1, 3])
    assert [answer if isinstance(answer, int) else type(answer) for answer in answers] == [2, NotFound, 6]
    assert writer.batches == [[1, -1], [3]]
    assert await batcher.put_all([]) == ()
    answers = await batcher.put_all([13, 4])
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]


async def test_an_error_of_one_item_is_raised_to_its_caller_alone() -> None:
    writer = Writer()
    writer.gate.set()
    batcher: Batcher[int, int] = Batcher(writer, 10)
    good, bad = batcher.enqueue(1), batcher.enqueue(-1)
    assert await good == 2
    with pytest.raises(NotFound):
        await bad


async def test_an_error_of_the_batch_is_raised_to_all_and_the_next_goes_on() -> None:
    writer = Writer()
    writer.gate.set()
    batcher: Batcher[int, int] = Batcher(writer, 2)
    failed = [batcher.enqueue(1), batcher.enqueue(13)]
    fine = batcher.enqueue(2)
    for future in failed:
        with pytest.raises(StoreUnavailable):
            await future
    assert await fine == 4


async def test_a_caller_that_left_harms_nobody() -> None:
    writer = Writer()
    batcher: Batcher[int, int] = Batcher(writer, 10)
    leaving, staying = batcher.enqueue(1), batcher.enqueue(2)
    await writer.begun.acquire()
    leaving.cancel()
    writer.gate.set()
    assert await staying == 4


async def test_drain_waits_for_everything() -> None:
    writer = Writer()
    batcher: Batcher[int, int] = Batcher(writer, 1)
    await batcher.drain()
    futures = [batcher.enqueue(number) for number in (1, 2, 3)]
    writer.gate.set()
    await batcher.drain()
    assert [future.result() for future in futures] == [2, 4, 6]


async def test_a_wakeup_joins_hints_and_keeps_them() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    assert await wakeup.wait(5) is True
    assert await wakeup.wait(0.01) is False


async def test_a_wakeup_ends_a_wait_at_once() -> None:
    wakeup = Wakeup()
    waiting = asyncio.create_task(wakeup.wait(60))
    await asyncio.sleep(0)
    wakeup.set()
    async with asyncio.timeout(5):
        assert await waiting is True


class Counted:
    """Something to run in a loop, which answers from a list."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.runs = 0
        self.done = asyncio.Event()

    async def __call__(self) -> float | None:
        self.runs += 1
        if not self.answers:
            self.done.set()
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _run_until_done(loop: Loop, counted: Counted) -> None:
    running = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(5):
            await counted.done.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_loop_sleeps_no_longer_than_asked_nor_than_its_interval() -> None:
    counted = Counted(0.0, -5.0, 0.001, None, 1000.0)
    await _run_until_done(Loop("test", counted, poll_seconds=0.01), counted)
    assert counted.runs >= 6


async def test_a_loop_outlives_every_error(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted(StoreUnavailable("the store is away"), ValueError("a bug"))
    with caplog.at_level(logging.WARNING):
        await _run_until_done(Loop("mine", counted, poll_seconds=0.001), counted)
    warning, error = caplog.records[:2]
    assert (warning.levelname, warning.getMessage()) == ("WARNING", "mine: the store is away")
    assert error.levelname == "ERROR" and error.exc_info is not None


async def test_a_hint_ends_a_loops_sleep() -> None:
    wakeup = Wakeup()
    counted = Counted(None)
    running = asyncio.create_task(_run_until_done(Loop("test", counted, 60, wakeup), counted))
    while counted.runs == 0:
        await asyncio.sleep(0)
    wakeup.set()
    await running
    assert counted.runs == 2


def test_ids_are_unique_and_sort_by_time() -> None:
    moments = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(10)]
    ids = [new_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert {uuid.UUID(text).version for text in ids} == {7}
    assert {uuid.UUID(text).variant for text in ids} == {uuid.RFC_4122}
    assert len({new_id(moments[0]) for _ in range(10_000)}) == 10_000


def test_the_clock_is_in_utc_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    moments = [clock.monotonic() for _ in range(1000)]
    assert moments == sorted(moments)
