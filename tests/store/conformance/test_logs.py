"""The newest output of attempts."""

import pytest

from podling.core.logrecord import TAIL_BYTES, LogRecord, Stream, decode, encode
from podling.store.base import LogTail, Store
from tests.builders import at


def frames(count: int, size: int = 10) -> bytes:
    return encode(
        LogRecord(at=at(number), stream=Stream.STDOUT, data=f"{number:0{size}}".encode())
        for number in range(count)
    )


def tail(task_id: str = "task", attempt: int = 1, **fields: object) -> LogTail:
    return LogTail(task_id=task_id, attempt=attempt, **({"frames": b""} | fields))  # type: ignore[arg-type]


async def test_an_attempt_without_output_has_no_tail(store: Store) -> None:
    await store.save_tails([])
    assert await store.load_tail("task", 1) is None


async def test_a_tail_is_read_as_it_was_saved(store: Store) -> None:
    saved = tail(frames=frames(20) + bytes(range(256)), dropped_bytes=2**40, final=True)
    await store.save_tails([saved])
    assert await store.load_tail("task", 1) == saved


async def test_each_attempt_has_its_own(store: Store) -> None:
    tails = [tail("a", 1, frames=b"1"), tail("a", 2, frames=b"2"), tail("b", 1, frames=b"3")]
    await store.save_tails(tails)
    for saved in tails:
        assert await store.load_tail(saved.task_id, saved.attempt) == saved
    assert await store.load_tail("a", 3) is None
    assert await store.load_tail("c", 1) is None


async def test_a_later_tail_replaces_the_earlier(store: Store) -> None:
    await store.save_tails([tail(frames=frames(3))])
    later = tail(frames=frames(1), dropped_bytes=100, final=True)
    await store.save_tails([later])
    assert await store.load_tail("task", 1) == later


async def test_the_last_of_equal_keys_counts(store: Store) -> None:
    await store.save_tails([tail(frames=b"1"), tail(frames=b"2")])
    assert await store.load_tail("task", 1) == tail(frames=b"2")


@pytest.mark.parametrize("dropped", [0, 1000])
async def test_the_newest_64_KiB_are_kept_and_the_rest_is_counted(store: Store, dropped: int) -> None:
    everything = frames(5000, size=90)
    assert len(everything) > TAIL_BYTES
    await store.save_tails([tail(frames=everything, dropped_bytes=dropped)])
    found = await store.load_tail("task", 1)
    assert found is not None
    assert TAIL_BYTES - 200 < len(found.frames) <= TAIL_BYTES
    assert everything.endswith(found.frames)
    assert found.dropped_bytes == dropped + len(everything) - len(found.frames)
    assert [int(record.data) for record in decode(found.frames)][-1] == 4999
