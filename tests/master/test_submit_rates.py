"""What a master lets in of a queue with a limit: exactly the limit, with few questions to the store."""

import asyncio

from podling.master.submit_rates import SubmitRates
from podling.store.memory.store import MemoryStore
from podling.store.ports.submit_counts import SubmitCounts, Taken
from tests.master.world import ManualClock


class Counting(SubmitCounts):
    def __init__(self, inner: SubmitCounts) -> None:
        self._inner = inner
        self.asked = 0

    async def take(self, queue: str, wanted: int, limit: int) -> Taken:
        self.asked += 1
        await asyncio.sleep(0)
        return await self._inner.take(queue, wanted, limit)


class House:
    """Some masters over one store, all by one clock that stands at the beginning of a minute."""

    def __init__(self, masters: int = 1) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.counts = self.store.submit_counts = Counting(self.store.submit_counts)
        self.rates = [SubmitRates(self.store, self.clock) for _ in range(masters)]
        assert self.clock.now().second == 0

    async def let_in(self, tries: int, limit: int, queue: str = "mail") -> int:
        waits = [await self.rates[number % len(self.rates)].take(queue, limit) for number in range(tries)]
        return sum(wait is None for wait in waits)


async def test_the_limit_is_met_exactly_and_who_is_too_late_waits_for_the_next_minute() -> None:
    house = House()
    assert await house.let_in(15, limit=10) == 10
    house.clock.passed += 15
    wait = await house.rates[0].take("mail", 10)
    assert wait is not None and 44 <= wait <= 45
    house.clock.passed += 45
    assert await house.let_in(15, limit=10) == 10


async def test_masters_share_it_and_miss_it_by_no_more_than_their_shares() -> None:
    house = House(masters=3)
    assert await house.let_in(30, limit=10) == 10
    assert 1000 - 2 * 10 <= await house.let_in(2000, limit=1000, queue="etl") <= 1000


async def test_the_store_is_asked_once_a_share_and_not_at_all_when_the_minute_is_used_up() -> None:
    house = House()
    assert await house.let_in(1000, limit=1000) == 1000
    assert house.counts.asked == 100
    await house.let_in(500, limit=1000)
    assert house.counts.asked == 101


async def test_those_that_come_together_share_an_answer() -> None:
    house = House()
    waits = await asyncio.gather(*(house.rates[0].take("mail", 1000) for _ in range(10)))
    assert (waits, house.counts.asked) == ([None] * 10, 1)


async def test_another_limit_is_asked_about_at_once() -> None:
    house = House()
    assert await house.let_in(5, limit=2) == 2
    assert await house.let_in(5, limit=4) == 2
    assert await house.let_in(5, limit=3) == 0


async def test_what_was_not_needed_is_there_for_another_one() -> None:
    house = House()
    assert await house.let_in(2, limit=2) == 2
    house.rates[0].give_back("mail")
    assert await house.let_in(3, limit=2) == 1
