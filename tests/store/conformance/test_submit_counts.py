"""Submits counted by the minute: never more than the limit, whoever asks, and nothing of others."""

import asyncio
from itertools import count

from podling.store.base import Store
from podling.store.ports.submit_counts import Taken

_serial = count(1)


async def granted(store: Store, *asked: tuple[int, int]) -> list[int]:
    """Return what is granted of each (wanted, limit), one after the other within one minute."""
    for _ in range(5):
        queue = f"mail-{next(_serial)}"
        taken = [await store.submit_counts.take(queue, wanted, limit) for wanted, limit in asked]
        if _in_one_minute(taken):
            return [each.granted for each in taken]
    raise AssertionError("five minutes have ended in a row")


def _in_one_minute(taken: list[Taken]) -> bool:
    left = [each.seconds_left for each in taken]
    assert all(0 <= seconds <= 60 for seconds in left)
    return left == sorted(left, reverse=True)


async def test_what_is_left_of_the_minute_is_granted(store: Store) -> None:
    assert await granted(store, (3, 10), (4, 10), (4, 10), (1, 10)) == [3, 4, 3, 0]


async def test_the_first_gets_no_more_than_there_is(store: Store) -> None:
    assert await granted(store, (7, 5), (1, 5)) == [5, 0]


async def test_another_limit_holds_at_once(store: Store) -> None:
    assert await granted(store, (2, 4), (2, 1), (2, 3), (2, 9)) == [2, 0, 1, 2]


async def test_queues_are_counted_apart(store: Store) -> None:
    for queue in ("one", "two"):
        assert (await store.submit_counts.take(queue, 5, 5)).granted == 5


async def test_many_at_once_get_no_more_than_the_limit(store: Store) -> None:
    for _ in range(5):
        queue = f"busy-{next(_serial)}"
        taken = await asyncio.gather(*(store.submit_counts.take(queue, 3, 20) for _ in range(10)))
        if max(each.seconds_left for each in taken) - min(each.seconds_left for each in taken) < 30:
            assert sum(each.granted for each in taken) == 20
            return
    raise AssertionError("five minutes have ended in a row")
