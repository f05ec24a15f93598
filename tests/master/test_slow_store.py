"""A store that hangs: workers are heard all the same."""

import asyncio
from typing import cast

from podling.core.protocol import ReportKind
from podling.master.api.session import MOST_WAITING
from podling.store.base import Store
from podling.wire.session import Reports
from tests.master.masters import Masters
from tests.master.world import Faulty


async def test_beats_are_acknowledged_while_more_reports_wait_than_there_is_room_for(
    masters: Masters,
) -> None:
    store, may_go_on = Faulty(masters.make_store()), asyncio.Event()
    master = await masters.start("one", store=cast(Store, store))
    worker = await master.worker("one")
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    store.before["commit"] = lambda: cast("asyncio.Future[None]", may_go_on.wait())
    try:
        for _ in range(MOST_WAITING + 50):
            await worker.send(Reports(items=(worker.build(work, ReportKind.RUNNING),)))
        counter = await worker.beat_once()
        await worker.acknowledged(counter)
    finally:
        may_go_on.set()
    await worker.until(lambda: len(worker.outcomes) >= MOST_WAITING, "what there was room for")
    assert await worker.end(work) == "applied"
    assert (await master.api.task(task["taskId"]))["status"] == "completed"


async def test_reports_that_come_while_the_store_is_busy_are_one_commit(masters: Masters) -> None:
    store, may_go_on, begun = Faulty(masters.make_store()), asyncio.Event(), asyncio.Semaphore(0)
    master = await masters.start("one", store=cast(Store, store))
    worker = await master.worker("one", slots=20)
    tasks = [await master.api.submit() for _ in range(12)]
    works = [await worker.assigned(task["taskId"]) for task in tasks]

    async def wait() -> None:
        begun.release()
        await may_go_on.wait()

    store.before["commit"] = wait
    first, *others = (worker.build(work, ReportKind.ENDED, exit_code=0) for work in works)
    await worker.send(Reports(items=(first,)))
    async with asyncio.timeout(10):
        await begun.acquire()
    for report in others:
        await worker.send(Reports(items=(report,)))
    await worker.acknowledged(await worker.beat_once())  # so the master has read what came before it
    may_go_on.set()
    await worker.until(lambda: len(worker.outcomes) == len(works), "all are answered")
    assert set(worker.outcomes.values()) == {"applied"}
    await begun.acquire()
    assert begun.locked(), "more than one commit for all that had waited"
