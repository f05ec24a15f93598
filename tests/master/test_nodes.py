"""Nodes that register by REST, and those that dial in."""

import asyncio
from typing import Any, cast

import aiohttp
import pytest

from podling.core.protocol import AttemptKey, HeldAttempt, HeldState
from podling.core.task import StopReason
from tests.master.fake_worker import Refused, held
from tests.master.masters import LEASE_SECONDS, RunningMaster, eventually


async def test_an_empty_list_of_nodes_is_an_empty_array(master: RunningMaster) -> None:
    answer = await master.api.get("/nodes")
    assert (answer.status, answer.text) == (200, "[]")


async def test_both_forms_of_registration(master: RunningMaster) -> None:
    slots = await master.api.post("/nodes/register", {"hostname": "a.test", "port": 8071, "capacity": 4})
    amounts = {"hostname": "b.test", "port": 8071, "cpu": "2.5", "memory": "1Gi"}
    quantities = await master.api.post("/nodes/register", amounts)
    assert (slots.status, quantities.status) == (201, 201)
    assert (slots.json["capacity"], slots.json["status"], slots.json["runningTasks"]) == (4, "online", 0)
    assert quantities.json["resources"] == {
        "capacity": {"cpu": 2500, "memory": 2**30},
        "allocatable": {"cpu": 2500, "memory": 2**30},
        "used": {"cpu": 0, "memory": 0},
    }
    listed = (await master.api.get("/nodes")).json
    assert [node["hostname"] for node in listed] == ["b.test", "a.test"]


async def test_the_same_place_is_the_same_node(master: RunningMaster) -> None:
    first = await master.api.post("/nodes/register", {"hostname": "a.test", "port": 8071, "capacity": 4})
    again = await master.api.post("/nodes/register", {"hostname": "a.test", "port": 8071, "capacity": 6})
    other = await master.api.post("/nodes/register", {"hostname": "a.test", "port": 8072, "capacity": 4})
    assert again.json["nodeId"] == first.json["nodeId"] != other.json["nodeId"]
    assert (await master.api.node(first.json["nodeId"]))["capacity"] == 6
    assert len((await master.api.get("/nodes")).json) == 2


async def test_heartbeats_move_the_time(master: RunningMaster) -> None:
    body = {"hostname": "a.test", "port": 8071, "capacity": 4}
    node = (await master.api.post("/nodes/register", body)).json
    answer = await master.api.post(f"/nodes/{node['nodeId']}/heartbeat")
    assert (answer.status, answer.json["status"]) == (200, "online")
    assert answer.json["lastHeartbeat"] > node["lastHeartbeat"]
    assert (await master.api.node(node["nodeId"]))["lastHeartbeat"] == answer.json["lastHeartbeat"]


@pytest.mark.parametrize("method, path", [("POST", "/deregister"), ("DELETE", "")])
async def test_a_node_can_be_taken_off_the_list(master: RunningMaster, method: str, path: str) -> None:
    body = {"hostname": "a.test", "port": 8071, "capacity": 4}
    node_id = (await master.api.post("/nodes/register", body)).json["nodeId"]
    answer = await master.api.call(method, f"/nodes/{node_id}{path}")
    assert (answer.status, answer.json) == (200, {"message": "node deregistered successfully"})
    missing = await master.api.get(f"/nodes/{node_id}")
    assert (missing.status, missing.json["error"]) == (404, "node not found")
    assert (await master.api.call(method, f"/nodes/{node_id}{path}")).status == 404


async def test_a_missing_node_is_told_as_the_reference_does(master: RunningMaster) -> None:
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/heartbeat"),
        ("POST", "/deregister"),
        ("POST", "/cordon"),
        ("POST", "/uncordon"),
    ]:
        answer = await master.api.call(method, f"/nodes/nobody{path}")
        assert answer.status == 404, (method, path)
        assert answer.json == {"error": "node not found", "code": "node_not_found", "details": {}}


async def test_nothing_is_planned_on_a_node_without_a_session(master: RunningMaster) -> None:
    await master.api.post("/nodes/register", {"hostname": "a.test", "port": 8071, "capacity": 4})
    first = await master.api.submit()
    worker = await master.worker()
    assert (await worker.assigned(first["taskId"])).spec.name == "job"
    assert (await master.api.task(first["taskId"]))["nodeId"] == "node-1"


async def test_a_connected_node_shows_what_is_used(master: RunningMaster) -> None:
    worker = await master.worker(labels={"zone": "a"}, version="1.2.3")
    resources = {"requests": {"cpu": "500m", "memory": "64Mi"}}
    task = await master.api.submit(resources=resources)
    work = await worker.assigned(task["taskId"])
    node = await master.api.node("node-1")
    assert (node["status"], node["hostname"], node["port"]) == ("online", "node-1.test", 8071)
    assert (node["capacity"], node["runningTasks"]) == (10, 1)
    assert node["resources"]["used"] == {"cpu": 500, "memory": 64 * 2**20}
    assert node["resources"]["capacity"] == {"cpu": 4000, "memory": 8 * 2**30}
    assert (node["labels"], node["version"], node["sessionNo"]) == ({"zone": "a"}, "1.2.3", 1)
    await worker.end(work)
    node = await master.api.node("node-1")
    assert (node["runningTasks"], node["resources"]["used"]) == (0, {"cpu": 0, "memory": 0})


async def test_a_cordoned_node_takes_no_new_work(master: RunningMaster) -> None:
    worker = await master.worker()
    running = await master.api.submit()
    work = await worker.assigned(running["taskId"])
    assert (await master.api.post("/nodes/node-1/cordon")).json["cordoned"] is True
    waiting = await master.api.submit()
    assert "cordoned" in waiting["schedulingError"]
    assert await worker.start(work) == "applied"
    await worker.connect([held(work)])  # a new session keeps the cordon
    assert (await master.api.task(waiting["taskId"]))["status"] == "pending"
    assert (await master.api.post("/nodes/node-1/uncordon")).json["cordoned"] is False
    await worker.assigned(waiting["taskId"])


async def test_a_busy_or_connected_node_stays(master: RunningMaster) -> None:
    worker = await master.worker()
    connected = await master.api.delete("/nodes/node-1")
    assert (connected.status, connected.code) == (409, "node_online")
    task = await master.api.submit()
    await worker.assigned(task["taskId"])
    busy = await master.api.post("/nodes/node-1/deregister")
    assert (busy.status, busy.code) == (409, "node_busy")
    assert "still has 1 task;" in busy.json["error"]
    assert busy.json["details"] == {"nodeId": "node-1", "runningTasks": 1}
    heartbeat = await master.api.post("/nodes/node-1/heartbeat")
    assert (heartbeat.status, heartbeat.code) == (409, "has_session")


async def test_hello_is_answered_with_welcome(master: RunningMaster) -> None:
    worker = master.new_worker()
    welcome = await worker.connect()
    assert (welcome.session_no, welcome.lease_seconds) == (1, LEASE_SECONDS)
    assert welcome.masters == ("http://machine-1.test",)
    assert welcome.cluster_id == (await master.api.get("/cluster")).json["clusterId"]
    assert (welcome.desired.assign, welcome.desired.stop, welcome.desired.forget) == ((), (), ())
    assert (await worker.connect()).session_no == 2


async def test_beats_are_acknowledged(master: RunningMaster) -> None:
    worker = await master.worker()
    worker.beating = False
    counter = await worker.beat_once()
    await worker.acknowledged(counter)


async def test_a_second_worker_with_the_same_id_ends_the_older_session(master: RunningMaster) -> None:
    older = await master.worker(instance="one")
    newer = await master.worker(instance="two")
    goodbye = await older.ended()
    assert goodbye is not None and goodbye.reconnect is True
    await newer.until(lambda: newer.beats_acknowledged, "a beat of the newer one")
    with pytest.raises(Refused) as refusal:
        await older.connect()
    assert refusal.value.goodbye.reconnect is False
    assert "another worker" in refusal.value.goodbye.reason
    assert newer.welcome is not None and newer.welcome.session_no == 2
    task = await master.api.submit()
    await newer.assigned(task["taskId"])
    assert older.assignments == []


async def test_the_late_hello_of_a_dead_start_sends_nobody_away(master: RunningMaster) -> None:
    living = await master.worker(instance="two")
    dead = master.new_worker(instance="one")
    dead.fall_silent()
    await dead.connect()
    goodbye = await living.ended()
    assert goodbye is not None and goodbye.reconnect is True
    await dead.vanish()
    await living.connect()
    task = await master.api.submit()
    await living.assigned(task["taskId"])


async def test_the_same_worker_that_dials_again_replaces_itself(master: RunningMaster) -> None:
    older = await master.worker()
    await master.worker()
    goodbye = await older.ended()
    assert goodbye is not None and goodbye.reconnect is True


async def test_a_reconnect_settles_what_both_sides_have(master: RunningMaster) -> None:
    worker = await master.worker()
    kept, cancelled, missing = [await master.api.submit(name=name) for name in ("kept", "stopped", "missing")]
    work = {task["name"]: await worker.assigned(task["taskId"]) for task in (kept, cancelled, missing)}
    await worker.start(work["kept"])
    await worker.start(work["missing"])
    await worker.close()
    await master.api.post(f"/tasks/{cancelled['taskId']}/cancel")
    unknown = HeldAttempt(task_id="nobody-knows", attempt=1, state=HeldState.RUNNING)
    over = HeldAttempt(task_id="long-gone", attempt=3, state=HeldState.ENDED)
    starting = held(work["stopped"], HeldState.STARTING)
    desired = (await worker.connect([held(work["kept"]), starting, unknown, over])).desired
    assert [item.key for item in desired.assign] == [work["missing"].key]
    assert {(order.task_id, order.attempt): order.reason for order in desired.stop} == {
        (cancelled["taskId"], 1): StopReason.CANCEL,
        ("nobody-knows", 1): StopReason.STALE,
    }
    assert desired.forget == (AttemptKey(task_id="long-gone", attempt=3),)


async def test_an_inventory_is_answered_the_same_way(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    nothing = await worker.take_inventory(held(work))
    assert (nothing.assign, nothing.stop, nothing.forget) == ((), (), ())
    assert [item.key for item in (await worker.take_inventory()).assign] == [work.key]
    await worker.end(work)
    running, ended = held(work), held(work, HeldState.ENDED)
    assert [order.reason for order in (await worker.take_inventory(running)).stop] == [StopReason.STALE]
    assert (await worker.take_inventory(ended)).forget == (work.key,)


async def test_a_stop_is_repeated_until_it_has_worked(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    answer = await master.api.post(f"/tasks/{task['taskId']}/cancel")
    assert (answer.status, answer.json["status"]) == (202, "running")
    await worker.stopped(task["taskId"])
    for _ in range(2):
        desired = await worker.take_inventory(held(work))
        assert [(order.task_id, order.reason) for order in desired.stop] == [
            (task["taskId"], StopReason.CANCEL)
        ]
    assert await worker.end(work, 143, stopped_by=StopReason.CANCEL) == "applied"
    assert (await master.api.task(task["taskId"]))["status"] == "cancelled"
    assert (await worker.take_inventory(held(work, HeldState.ENDED))).forget == (work.key,)


async def test_a_cancel_reaches_a_worker_before_the_start_it_missed(master: RunningMaster) -> None:
    worker = await master.worker()
    await worker.vanish()
    task = await master.api.submit()
    await master.until_status(task["taskId"], "scheduled")
    await master.api.post(f"/tasks/{task['taskId']}/cancel")
    desired = (await worker.connect()).desired
    assert [order.reason for order in desired.stop] == [StopReason.CANCEL]
    assert [item.task_id for item in desired.assign] == [task["taskId"]]
    work = desired.assign[0]
    assert await worker.end(work, None, stopped_by=StopReason.CANCEL, never_started=True) == "applied"
    assert (await master.api.task(task["taskId"]))["status"] == "cancelled"


async def test_an_unhealthy_runtime_takes_no_new_work(master: RunningMaster) -> None:
    worker = await master.worker()
    worker.unhealthy = "the engine does not answer"

    async def told() -> bool:
        return bool((await master.api.node("node-1"))["unhealthy"] == worker.unhealthy)

    await eventually(told, "the node to be unhealthy")
    task = await master.api.submit()
    assert "runtime unhealthy" in task["schedulingError"]
    worker.unhealthy = None
    await worker.assigned(task["taskId"])
    assert (await master.api.node("node-1"))["status"] == "online"


BAD_HELLOS: list[tuple[dict[str, object], str]] = [
    ({"protocol_version": 0}, "protocol"),
    ({"protocol_version": 99}, "protocol"),
    ({"hostname": "no host"}, "hostname"),
    ({"port": 70_000}, "port"),
    ({"capacity": {"slots": 2**63}, "allocatable": {}}, "capacity"),
    ({"allocatable": {"slots": 11}}, "allocatable"),
    ({"labels": {"bad key!": "x"}}, "labels"),
]


async def test_a_hello_that_cannot_be_is_refused(master: RunningMaster) -> None:
    worker = master.new_worker()
    for changes, named in BAD_HELLOS:
        with pytest.raises(Refused) as refused:
            await worker.connect(**changes)
        assert named in refused.value.goodbye.reason
    assert (await master.api.get("/nodes")).json == []


async def test_what_is_no_hello_gets_a_goodbye(master: RunningMaster) -> None:
    for text in ("", "nonsense", "hello\n{", 'hello\n{"protocolVersion":1}', 'beat\n{"counter":1}'):
        answer = await _first_answer(master, text)
        assert answer.startswith("goodbye\n"), text


async def _first_answer(master: RunningMaster, text: str) -> str:

    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{master.url}/api/v1/nodes/node-1/session") as socket,
    ):
        await socket.send_str(text)
        return await socket.receive_str(timeout=5)


async def test_a_broken_message_ends_the_session_with_the_reason(master: RunningMaster) -> None:
    worker = await master.worker()
    await worker.send_text('beat\n{"counter":"many"}')
    goodbye = await worker.ended()
    assert goodbye is not None and goodbye.reconnect is True
    assert "counter" in goodbye.reason
    assert (await worker.connect()).session_no == 2


async def test_a_bad_node_id_gets_no_session(master: RunningMaster) -> None:
    for node_id in ("-x", "a b", "x" * 129, "ä"):
        answer = await master.api.get(f"/nodes/{node_id}/session")
        assert (answer.status, answer.field) == (400, "nodeId")


async def test_a_node_id_may_hold_colons_everywhere(master: RunningMaster) -> None:
    await master.worker("rack:1:node", hostname="rack.test")
    assert (await master.api.node("rack:1:node"))["status"] == "online"


async def test_nodes_are_listed_in_pages_and_by_what_they_are(master: RunningMaster) -> None:
    for index in range(5):
        labels = {"zone": "a" if index % 2 else "b"}
        body = {"hostname": f"h{index}.test", "port": 8071, "capacity": 1, "labels": labels}
        assert (await master.api.post("/nodes/register", body)).status == 201
    seen, cursor, pages = [], {}, 0
    while pages == 0 or cursor:
        page = await master.api.get("/nodes", limit=2, **cursor)
        seen += [node["hostname"] for node in page.json]
        cursor = {"cursor": page.headers["X-Next-Cursor"]} if "X-Next-Cursor" in page.headers else {}
        assert ('rel="next"' in page.headers.get("Link", "")) == bool(cursor)
        pages += 1
    assert (pages, seen) == (3, [f"h{index}.test" for index in range(4, -1, -1)])
    for query, wanted in [
        ({"label": "zone=a"}, ["h3.test", "h1.test"]),
        ({"label": "zone!=a", "limit": 1}, ["h4.test"]),
        ({"status": "online", "label": "!zone"}, []),
        ({"status": "offline"}, []),
    ]:
        found = (await master.api.get("/nodes", **query)).json
        assert [node["hostname"] for node in found] == wanted, query
    for query in ({"status": "gone"}, {"label": "=x"}, {"limit": 0}, {"cursor": "x"}, {"queue": "a"}):
        assert (await master.api.get("/nodes", **query)).status == 400, query


async def test_a_session_in_which_nothing_happens_takes_no_task_of_its_own(master: RunningMaster) -> None:
    """There may be ten thousand: the HTTP server's two tasks for a request have to do."""
    before = len(_tasks_of_master())
    for number in range(5):
        (await master.worker(f"node-{number}")).fall_silent()

    async def rests() -> bool:
        return len(_tasks_of_master()) - before == 5 * 2

    await eventually(rests, "five sessions of two tasks each")


def _tasks_of_master() -> list[Any]:
    works = [cast(Any, task.get_coro()).cr_code.co_filename for task in asyncio.all_tasks()]
    return [file for file in works if "/podling/" in file or file.endswith("web_protocol.py")]


async def test_a_connection_that_is_silent_for_too_long_is_ended(
    master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.session.SILENT_LEASES", 0.1)
    worker = await master.worker()
    worker.fall_silent()
    await worker.until(lambda: worker.closed, "the end of its connection")
