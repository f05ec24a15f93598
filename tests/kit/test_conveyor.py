"""The conveyor: one after the other, nothing lost, and nothing left running when nothing waits."""

import asyncio

import pytest

from podling.kit.conveyor import Conveyor


class Mill:
    """Works on what it is given as far as the test lets it."""

    def __init__(self) -> None:
        self.conveyor: Conveyor[str] = Conveyor()
        self.begun: list[str] = []
        self.finished: list[str] = []
        self.failures: list[BaseException] = []
        self.may_go_on = asyncio.Event()
        self.news = asyncio.Event()

    def begin(self) -> None:
        self.conveyor.begin(self._work, self._failed)

    async def until_begun(self, *items: str) -> None:
        async with asyncio.timeout(5):
            while tuple(self.begun) != items:
                self.news.clear()
                await self.news.wait()

    async def until_failed(self) -> None:
        async with asyncio.timeout(5):
            while not self.failures:
                self.news.clear()
                await self.news.wait()

    async def _work(self, item: str) -> None:
        self.begun.append(item)
        self.news.set()
        await self.may_go_on.wait()
        if item == "broken":
            raise ValueError(item)
        self.finished.append(item)

    def _failed(self, error: BaseException) -> None:
        self.failures.append(error)
        self.news.set()


@pytest.fixture
async def mill() -> Mill:
    return Mill()


async def test_what_is_put_before_and_after_the_beginning_is_worked_off_in_its_order(mill: Mill) -> None:
    mill.conveyor.put("a")
    mill.conveyor.put("b")
    assert len(mill.conveyor) == 2
    mill.begin()
    await mill.until_begun("a")
    mill.conveyor.put("c")
    assert mill.finished == []
    mill.may_go_on.set()
    await mill.until_begun("a", "b", "c")
    mill.conveyor.put("d")
    await mill.until_begun("a", "b", "c", "d")
    assert mill.finished[:3] == ["a", "b", "c"]


async def test_it_has_a_task_only_while_something_waits(mill: Mill) -> None:
    before = asyncio.all_tasks()
    mill.begin()
    assert asyncio.all_tasks() == before
    mill.conveyor.put("a")
    await mill.until_begun("a")
    (running,) = asyncio.all_tasks() - before
    mill.may_go_on.set()
    await asyncio.wait([running], timeout=5)
    assert asyncio.all_tasks() == before
    mill.conveyor.put("b")
    await mill.until_begun("a", "b")


async def test_what_is_cleared_is_not_worked_on(mill: Mill) -> None:
    mill.begin()
    mill.conveyor.put("a")
    await mill.until_begun("a")
    mill.conveyor.put("b")
    mill.conveyor.clear()
    mill.conveyor.put("c")
    mill.may_go_on.set()
    await mill.until_begun("a", "c")


async def test_a_failure_is_told_once_and_is_the_end(mill: Mill) -> None:
    mill.begin()
    mill.may_go_on.set()
    mill.conveyor.put("broken")
    mill.conveyor.put("a")
    await mill.until_failed()
    mill.conveyor.put("b")
    await asyncio.sleep(0)
    assert [str(error) for error in mill.failures] == ["broken"]
    assert mill.begun == ["broken"]


async def test_its_end_cancels_what_is_worked_on_and_leaves_the_rest(mill: Mill) -> None:
    before = asyncio.all_tasks()
    mill.begin()
    mill.conveyor.put("a")
    mill.conveyor.put("b")
    await mill.until_begun("a")
    await mill.conveyor.end()
    mill.conveyor.put("c")
    assert asyncio.all_tasks() == before
    assert (mill.begun, mill.finished, mill.failures) == (["a"], [], [])


async def test_who_works_on_one_may_take_what_waits_behind_it(mill: Mill) -> None:
    mill.begin()
    mill.conveyor.put("a")
    await mill.until_begun("a")
    for item in ("b", "c", "other", "d"):
        mill.conveyor.put(item)
    assert mill.conveyor.take_while(lambda item: len(item) == 1) == ["b", "c"]
    mill.may_go_on.set()
    await mill.until_begun("a", "other", "d")
