"""Events: told in order, found again at another master, and no burden when nobody reads them."""

import asyncio
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from podling.client import AsyncClient
from podling.core.happened import EventFilter
from podling.core.lifecycle import Cancel
from podling.core.position import Position
from podling.master import event_log
from podling.master.loops.changes import ChangesFeed
from podling.master.operations import events
from tests.master.event_reader import EventReader, following
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.world import World, insert


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]


async def test_a_tasks_life_and_a_nodes_coming_are_told_in_order(master: RunningMaster) -> None:
    async with following(master.api) as reader:
        worker = await master.worker()
        task = await master.api.submit(queue="nightly")
        work = await worker.assigned(task["taskId"])
        await worker.start(work)
        await worker.end(work, 3)
        found = await reader.until(type="task.failed")
    assert kinds(found) == ["node.online", "task.submitted", "task.scheduled", "task.running", "task.failed"]
    last = found[-1]
    assert last | {"id": "", "at": ""} == {
        "id": "", "at": "", "type": "task.failed", "taskId": task["taskId"], "name": "job",
        "queue": "nightly", "status": "failed", "before": "running", "attempt": 1, "nodeId": "node-1",
    }  # fmt: skip
    assert last["at"].endswith("Z")
    assert reader.last_id == last["id"]


async def test_what_an_operator_does_to_a_node_is_told(master: RunningMaster) -> None:
    await master.worker()
    async with following(master.api, type="node") as reader:
        await master.api.post("/nodes/node-1/cordon")
        await master.api.post("/nodes/node-1/uncordon")
        await master.api.post("/nodes/node-1/drain")
        await master.api.call("DELETE", "/nodes/node-1", params={"lost": "true"})
        found = await reader.until(type="node.removed")
    told = [kind for kind in kinds(found) if kind not in ("node.online", "node.offline", "node.lost")]
    assert told[:3] == ["node.cordoned", "node.uncordoned", "node.draining"]
    assert {event["nodeId"] for event in found} == {"node-1"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "query, wanted",
    [
        ({"queue": "a"}, {"one", "two"}),
        ({"label": "app"}, {"two", "three"}),
        ({"label": "app!=web"}, {"one", "three"}),
        ({"queue": "a", "label": "app=web"}, {"two"}),
        ({"type": "task.submitted,node"}, {"one", "two", "three"}),
    ],
)
async def test_a_reader_chooses(
    shared_master: RunningMaster, query: dict[str, str], wanted: set[str]
) -> None:
    api = shared_master.api
    async with following(api, **query) as reader, following(api, type="task.submitted") as everything:
        await api.submit(name="one", queue="a")
        await api.submit(name="two", queue="a", labels={"app": "web"})
        await api.submit(name="three", labels={"app": "db"})
        last = await api.submit(name="last", queue="a", labels={"app": "web"})
        if "label" in query and "!=" in query["label"]:
            last = await api.submit(name="last", labels={"app": "none"})
        found = await reader.until(taskId=last["taskId"])
        await everything.until(taskId=last["taskId"])
    assert {event["name"] for event in found} - {"last"} == wanted


@pytest.mark.asyncio(loop_scope="module")
async def test_one_task_alone_is_followed(shared_master: RunningMaster) -> None:
    api = shared_master.api
    task = await api.submit()
    async with following(api, taskId=task["taskId"]) as reader:
        await api.submit()
        await api.post(f"/tasks/{task['taskId']}/cancel")
        assert kinds(await reader.until(type="task.cancelled")) == ["task.cancelled"]


async def test_who_changes_masters_misses_nothing_and_gets_nothing_twice(masters: Masters) -> None:
    """The reader breaks off after every third event, in the middle of batches, and goes on elsewhere."""
    both = [await masters.start("a"), await masters.start("b")]
    worker = await both[0].worker(capacity={"slots": 50}, allocatable={"slots": 50})
    async with following(both[0].api, type="task") as reader:
        last_id = reader.last_id

    async def live(index: int) -> str:
        task = await both[index % 2].api.submit(name=f"job-{index}")
        work = await worker.assigned(task["taskId"])
        await worker.start(work)
        await worker.end(work)
        return str(task["taskId"])

    living = asyncio.gather(*map(live, range(30)))
    told: dict[str, list[str]] = {}
    turn, ended, ids = 0, 0, []
    while ended < 30:
        turn += 1
        async with following(both[turn % 2].api, last_id, type="task") as reader:
            for _ in range(4):
                event = await reader.next()
                if event:
                    told.setdefault(event["taskId"], []).append(event["type"])
                    ids.append(event["id"])
                    ended += event["type"] == "task.completed"
            last_id = reader.last_id
    assert set(told) == set(await living)
    assert len(set(ids)) == len(ids)
    for story in told.values():
        assert story[0] == "task.submitted"
        assert story[-1] == "task.completed"
        order = ["task.submitted", "task.scheduled", "task.running", "task.completed"]
        assert story == [kind for kind in order if kind in story], story


async def test_a_batch_is_resumed_in_its_middle(master: RunningMaster) -> None:
    async with following(master.api) as reader:
        bodies = [{"name": f"job-{index}", "image": "busybox:local"} for index in range(20)]
        answers = (await master.api.post("/tasks:batch", {"tasks": bodies})).json
        first = [await reader.next() for _ in range(7)]
    async with following(master.api, first[-1]["id"]) as reader:
        rest = await reader.until(taskId=answers[-1]["taskId"])
    told = [event["taskId"] for event in first + rest if event]
    assert told == [answer["taskId"] for answer in answers]


async def test_who_comes_with_the_id_of_another_store_is_told_to_start_over(master: RunningMaster) -> None:
    async with following(master.api, "somebody-else=7") as reader:
        event = await reader.next()
        assert (event["type"], "restarted" in event["reason"]) == ("reset", True)
        task = await master.api.submit()
        await reader.until(taskId=task["taskId"])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "headers, query, field",
    [
        ({"Last-Event-ID": "nonsense"}, {}, "Last-Event-ID"),
        ({"Last-Event-ID": "a=1,b"}, {}, "Last-Event-ID"),
        ({"Last-Event-ID": "a=9999999999999999999"}, {}, "Last-Event-ID"),
        ({}, {"type": "task.gone"}, "type"),
        ({}, {"label": "=x"}, "label"),
        ({}, {"since": "yesterday"}, "since"),
        ({}, {"nothing": "x"}, "nothing"),
    ],
)
async def test_a_bad_question_is_refused(
    shared_master: RunningMaster, headers: dict[str, str], query: dict[str, str], field: str
) -> None:
    answer = await shared_master.api.call("GET", "/events", headers=headers, params=query)
    assert (answer.status, answer.field) == (400, field)


async def test_what_happened_lately_can_be_read_again(master: RunningMaster) -> None:
    before = await master.api.submit(name="before")
    async with following(master.api, since="2000-01-01T00:00:00Z") as reader:
        assert kinds(await reader.until(taskId=before["taskId"])) == ["task.submitted"]


async def test_readers_are_bounded_and_leave_nothing_behind(master: RunningMaster) -> None:
    log = master.server.context.events
    before = len(asyncio.all_tasks())
    for _ in range(50):
        async with following(master.api):
            pass

    async def gone() -> bool:
        return log.readers == 0 and len(asyncio.all_tasks()) < before + 5  # the store's own come and go

    await eventually(gone, "the readers to go")
    with ExitStack() as stack:
        for _ in range(event_log.MOST_READERS):
            stack.enter_context(log.reading())
        answer = await master.api.get("/events")
    assert (answer.status, answer.code) == (503, "too_many_streams")
    assert answer.headers["Retry-After"]


async def test_a_master_that_stops_lets_readers_go(master: RunningMaster) -> None:
    async with master.api.stream("/events") as response:
        await EventReader(response).next()
        async with asyncio.timeout(5):
            await master.stop_server()


async def test_a_reader_that_takes_nothing_is_cut_off(masters: Masters) -> None:
    master = await masters.start(reader_seconds=0.2)
    log = master.server.context.events
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", int(master.url.rpartition(":")[2])))
        await loop.sock_sendall(deaf, b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")

        async def came() -> bool:
            return log.readers == 1

        await eventually(came, "the reader")

        async def cut() -> bool:
            bodies = [{"name": "n" * 200, "image": "busybox:local"} for _ in range(500)]
            await master.api.post("/tasks:batch", {"tasks": bodies})
            return log.readers == 0

        await eventually(cut, "the reader to be cut off", 30)


async def test_who_is_slower_than_the_masters_log_reads_on_in_the_store(world: World) -> None:
    context = world.context()
    context.events = event_log.EventLog(world.store, most_changes=3)
    feed = ChangesFeed(context)
    await feed.start()
    tasks = [await insert(context) for _ in range(2)]
    with context.events.reading():
        reading = events.read(context, events.EventQuery(wanted=EventFilter(), after=Position()))
        await anext(reading)  # where it begins
        told = [await anext(reading)]
        for task in tasks:
            await context.committer.apply(task.task_id, Cancel())
        tasks += [await insert(context) for _ in range(20)]
        await feed.run_once()
        told += [await anext(reading) for _ in range(23)]
        await reading.aclose()
    types = [item.event["type"] for part in told for item in part if item.event]
    assert types == ["task.submitted"] * 2 + ["task.cancelled"] * 2 + ["task.submitted"] * 20


async def test_who_comes_too_late_is_told_to_start_over(world: World) -> None:
    context = world.context()
    feed = ChangesFeed(context)
    await feed.start()
    query = events.EventQuery(wanted=EventFilter(), after=Position.at({"one-start.1": 1}))
    for _ in range(2):
        await insert(context)
    with context.events.reading():
        reading = events.read(context, query)
        assert [item.event for item in await anext(reading)] == [None]
        await reading.aclose()
        late = events.read(
            context, events.EventQuery(wanted=EventFilter(), after=Position.at({"one-start.1": 9}))
        )
        (told,) = await anext(late)
        await late.aclose()
    assert told.event is not None
    assert told.event["type"] == "reset"


async def test_a_client_goes_on_by_itself_at_the_next_master(masters: Masters) -> None:
    first, second = await masters.start("a"), await masters.start("b")
    async with AsyncClient(f"{first.url},{second.url}") as client:
        found: list[str] = []
        came = asyncio.Event()

        async def follow() -> None:
            async for event in await client.events(types=("task.submitted",)):
                found.append(event["name"])
                came.set()

        following_ = asyncio.create_task(follow())

        async def reads() -> bool:
            return first.server.context.events.readers == 1

        await eventually(reads, "the client to follow")
        await first.api.submit(name="before")
        await asyncio.wait_for(came.wait(), 8)
        await first.stop_server()
        names = [f"while-{index}" for index in range(5)]
        for name in names:
            await second.api.submit(name=name)

        async def all_came() -> bool:
            return len(found) >= 6

        await eventually(all_came, "the events to come at the other master")
        following_.cancel()
        await asyncio.gather(following_, return_exceptions=True)
    assert found == ["before", *names]
