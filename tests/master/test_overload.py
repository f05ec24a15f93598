"""More requests than a master can answer: the others are told when to come again, and beats go on."""

import asyncio
from typing import cast

import pytest

from podling.store.base import Store
from tests.master.bad_input.rows import head
from tests.master.masters import Answer, Masters, RunningMaster, eventually, task_body
from tests.master.world import Faulty


class Held:
    """A store at which one method waits, until it may go on."""

    def __init__(self, masters: Masters, method: str) -> None:
        self._store = Faulty(masters.make_store())
        self._store.before[method] = self._hold
        self.store = cast(Store, self._store)
        self.reached, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def _hold(self) -> None:
        self.reached.set()
        await self.may_go_on.wait()


def _check_refusal(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (status, code, "1"), answer.text


async def _in_hand(master: RunningMaster, count: int, held: Held) -> list["asyncio.Task[Answer]"]:
    asked = [asyncio.create_task(master.api.post("/tasks", task_body())) for _ in range(count)]
    await held.reached.wait()

    async def are_in() -> bool:
        return master.server.admission.in_hand == count

    await eventually(are_in, f"{count} requests are in hand")
    return asked


async def test_too_many_requests_in_hand_are_refused_while_beats_and_reports_go_on(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.admission.MOST_IN_HAND", 2)
    held = Held(masters, "commit")
    master = await masters.start(store=held.store)
    worker = await master.worker()
    asked = await _in_hand(master, 2, held)

    async def is_full() -> bool:
        return (await master.api.get("/tasks")).status == 503

    try:
        await eventually(is_full, "the master to be full")
        _check_refusal(await master.api.get("/tasks"), 503, "overloaded")
        _check_refusal(await master.api.post("/tasks", task_body()), 503, "overloaded")
        _check_refusal(await master.api.get("//docs"), 503, "overloaded")
        await worker.acknowledged(await worker.beat_once())
        assert (await master.api.post("/nodes/node-1/tails", {"tails": []})).status == 200
        assert (await master.api.get("//health")).status == 200
    finally:
        held.may_go_on.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [201, 201]
    assert (await master.api.get("/tasks")).status == 200


async def test_a_slow_event_loop_has_less_in_hand_while_beats_go_on(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.pace.SLOW_SECONDS", -1.0)
    monkeypatch.setattr("podling.master.api.pace.LEAST_IN_HAND", 1)
    monkeypatch.setattr("podling.master.api.pace.DOUBLING_SECONDS", 3600.0)
    held = Held(masters, "commit")
    master = await masters.start(store=held.store)
    worker = await master.worker()
    for _ in range(10):
        await master.api.get("/tasks")
    asked = await _in_hand(master, 1, held)
    try:
        _check_refusal(await master.api.post("/tasks", task_body()), 503, "overloaded")
        await worker.acknowledged(await worker.beat_once())
    finally:
        held.may_go_on.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [201]


async def test_a_store_that_is_behind_takes_nothing_new_and_is_still_read(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.committer.MOST_WAITING", 1)
    held = Held(masters, "commit")
    master = await masters.start(store=held.store)
    asked = await _in_hand(master, 1, held)
    asked.append(asyncio.create_task(master.api.post("/tasks", task_body())))

    async def is_behind() -> bool:
        return master.server.context.committer.is_behind

    try:
        await eventually(is_behind, "the store to be behind")
        _check_refusal(await master.api.post("/tasks", task_body()), 503, "overloaded")
        assert (await master.api.get("/tasks")).status == 200
    finally:
        held.may_go_on.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [201, 201]


async def test_reads_leave_the_store_room_for_beats(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.admission.TURN_SECONDS", 0.2)
    monkeypatch.setattr("podling.master.api.admission.MOST_READING", 1)
    held = Held(masters, "list_tasks")
    master = await masters.start(store=held.store)
    worker = await master.worker()
    reading = asyncio.create_task(master.api.get("/tasks"))
    await held.reached.wait()
    try:
        _check_refusal(await master.api.get("/tasks"), 503, "overloaded")
        await worker.acknowledged(await worker.beat_once())
    finally:
        held.may_go_on.set()
    assert (await reading).status == 200


async def test_streams_are_counted_apart_and_bounded(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.admission.MOST_STREAMS", 1)
    master = await masters.start()
    task = await master.api.submit()  # and no worker: there is nothing to read yet
    path = f"/tasks/{task['taskId']}/logs"
    async with master.api.stream(path, follow="true") as following:
        assert following.status == 200
        _check_refusal(await master.api.get(path, follow="true"), 429, "too_many_streams")
        assert (await master.api.get("/tasks")).status == 200


async def test_large_bodies_together_are_bounded_and_small_ones_get_through(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.admission.MOST_BODY_BYTES_IN_ALL", 100_000)
    master = await masters.start()
    large = {"tasks": [task_body(env={"A": "x" * 50_000})] * 3}
    _check_refusal(await master.api.post("/tasks:batch", large), 503, "overloaded")
    assert (await master.api.post("/tasks", task_body())).status == 201


async def test_a_body_on_its_way_does_not_hold_up_the_end(masters: Masters) -> None:
    master = await masters.start()
    port = int(master.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head("POST", "/api/v1/tasks", "Content-Length: 50", "Expect: 100-continue"))
    try:
        async with asyncio.timeout(5):
            await reader.readuntil(b"100 Continue\r\n\r\n")  # it has begun to wait for the body
            stopping = asyncio.create_task(master.stop_server())
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 ") and b'"stopping"' in answer
            await stopping
    finally:
        writer.close()
