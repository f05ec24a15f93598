"""A master that is stopped while work is in hand."""

import asyncio
from typing import cast

from podling.store.base import Store
from tests.master.masters import Masters, eventually, task_body
from tests.master.world import Faulty


async def test_what_was_accepted_is_answered_before_a_master_ends(masters: Masters) -> None:
    store = Faulty(masters.make_store())
    master = await masters.start("one", store=cast(Store, store))
    reached, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await may_go_on.wait()

    store.before["commit"] = hold
    submitted = asyncio.create_task(master.api.post("/tasks", task_body(name="in-hand")))
    await reached.wait()
    stopping = asyncio.create_task(master.stop_server())

    async def is_closed() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(master.url.rpartition(":")[2]))
        except OSError:
            return True
        writer.close()
        return False

    try:
        await eventually(is_closed, "the port to be closed")
        assert not submitted.done() and not stopping.done()
    finally:
        may_go_on.set()
    answer = await submitted
    assert answer.status == 201
    await stopping
    second = await masters.start("one")
    assert (await second.api.task(answer.json["taskId"]))["name"] == "in-hand"


async def test_workers_move_on_at_once_and_the_next_master_leads_without_waiting(masters: Masters) -> None:
    first = await masters.start("one", lease_seconds=30)
    second = await masters.start("two", lease_seconds=30)
    worker = await first.worker()
    task = await first.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))
    stopping = asyncio.create_task(first.stop_server())
    goodbye = await worker.ended()
    assert goodbye is not None
    assert (goodbye.reason, goodbye.reconnect) == ("the master is stopping", True)
    await stopping

    async def leads() -> bool:
        return bool((await second.api.get("//ready")).json["leader"])

    await eventually(leads, "the other master to lead", 15)
    assert (await second.api.task(task["taskId"]))["status"] == "running"
