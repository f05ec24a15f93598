"""What happens in one round of the event loop."""

import asyncio

from podling.kit.rounds import Rounds

MOST = 3


async def test_no_more_enter_in_one_round_than_may_and_all_do_in_their_order() -> None:
    rounds, entered = Rounds(MOST), []

    async def enter(number: int) -> None:
        await rounds.enter()
        entered.append(number)

    begun = [asyncio.create_task(enter(number)) for number in range(8)]
    seen = 0
    while seen < len(begun):
        await asyncio.sleep(0)
        assert len(entered) - seen <= MOST
        seen = len(entered)
    assert entered == list(range(8))


async def test_who_gives_up_takes_nobodys_place() -> None:
    rounds = Rounds(1)
    first, second, third = (asyncio.create_task(rounds.enter()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, third)


async def test_one_alone_waits_for_nothing() -> None:
    rounds = Rounds(1)
    for _ in range(3):
        alone = asyncio.create_task(rounds.enter())
        await asyncio.sleep(0)
        assert alone.done()
        await asyncio.sleep(0)
