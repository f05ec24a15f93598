"""Nodes that are drained: no new work, and nothing is left behind."""

import time
from functools import partial
from typing import Any

from podling.core.protocol import ReportKind
from podling.core.task import StopReason
from tests.master.fake_worker import FakeWorker, held
from tests.master.masters import Masters, RunningMaster, eventually


async def _started(master: RunningMaster, worker: FakeWorker, **fields: Any) -> Any:
    task = await master.api.submit(**fields)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work


async def _drain(master: RunningMaster, node_id: str, body: Any = None) -> Any:
    answer = await master.api.post(f"/nodes/{node_id}/drain", body)
    assert answer.status in (200, 202), answer.text
    return answer


async def _told(worker: FakeWorker, *reasons: bool) -> None:
    """Wait until the worker has been told to start nothing (True), or to start again."""

    def told() -> bool:
        return [message.reason is not None for message in worker.drains] == list(reasons)

    await worker.until(told, f"to be told {reasons}, not {worker.drains}")


async def test_what_has_not_started_goes_elsewhere_and_what_runs_may_end(master: RunningMaster) -> None:
    worker = await master.worker("one")
    running = await _started(master, worker)
    fresh = await worker.assigned((await master.api.submit())["taskId"])
    answer = await _drain(master, "one")
    assert (answer.status, answer.json["cordoned"]) == (202, True)
    assert answer.json["drain"]["deadlineSeconds"] is None
    await _told(worker, True)
    other = await master.worker("two")
    refused = worker.build(
        fresh, ReportKind.REFUSED, error="the node is drained", error_code="DRAINED", never_started=True
    )
    assert await worker.report(refused) == ["applied"]
    again = await other.assigned(fresh.task_id, 2)
    new = await other.assigned((await master.api.submit())["taskId"])
    assert worker.stops == []
    assert await worker.end(running) == "applied"
    node = await master.api.node("one")
    assert (node["runningTasks"], node["status"]) == (0, "online")
    for work in (again, new):
        await other.end(work)
    moved = await master.api.task(fresh.task_id)
    assert (moved["status"], moved["attempt"]) == ("completed", 2)
    assert {work.task_id for work in worker.assignments} == {running.task_id, fresh.task_id}


async def test_the_deadline_stops_what_runs_and_charges_it_to_nothing(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker, maxAttempts=1, maxLosses=0)
    once = await _started(master, worker, delivery="at_most_once")
    ends = await _started(master, worker)
    fails = await _started(master, worker)
    await _drain(master, "one", {"deadlineSeconds": 0})
    for item in (work, once, ends, fails):
        assert (await worker.stopped(item.task_id)).reason is StopReason.STALE
    explained = (await master.api.get(f"/tasks/{work.task_id}/explain")).json
    assert "its node is drained, so it goes elsewhere" in explained["summary"]
    other = await master.worker("two")
    for item in (work, once):
        await worker.end(item, 143, error_code="DISCONNECTED", stopped_by=StopReason.STALE)
    await worker.end(ends)  # before the stop acted
    await worker.end(fails, 3)
    await other.end(await other.assigned(work.task_id, 2))
    done = await master.api.task(work.task_id)
    assert (done["status"], done["attempt"], done["exitCode"]) == ("completed", 2, 0)
    first = (await master.api.get(f"/tasks/{work.task_id}/attempts")).json[0]
    assert (first["status"], first["errorCode"]) == ("cancelled", "DRAINED")
    stopped = await master.api.task(once.task_id)
    assert (stopped["status"], stopped["errorCode"]) == ("failed", "DRAINED")
    assert stopped["deadLetterReason"] == "AT_MOST_ONCE"
    assert (await master.api.task(ends.task_id))["status"] == "completed"
    failed = await master.api.task(fails.task_id)
    assert (failed["status"], failed["errorCode"]) == ("failed", "EXIT_CODE")
    told = (await master.api.get(f"/tasks/{work.task_id}/timeline")).json
    assert "drained" in [line["type"] for line in told]
    assert (await master.api.node("one"))["runningTasks"] == 0


async def test_a_task_that_is_moved_can_still_be_cancelled(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    await _drain(master, "one", {"deadlineSeconds": 0})
    await worker.stopped(work.task_id)
    assert (await master.api.post(f"/tasks/{work.task_id}/cancel")).status == 202
    await worker.end(work, 143, error_code="DISCONNECTED", stopped_by=StopReason.STALE)
    assert (await master.api.task(work.task_id))["status"] == "cancelled"


async def test_uncordon_ends_it_and_cordon_keeps_what_runs(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    await _drain(master, "one", {"deadlineSeconds": 3600})
    waiting = await master.api.submit()
    assert "draining" in waiting["schedulingError"]
    explained = (await master.api.get(f"/tasks/{waiting['taskId']}/explain")).json
    assert explained["reasons"][0]["code"] == "draining"
    assert "podling node uncordon" in explained["advice"]
    cordoned = (await master.api.post("/nodes/one/cordon")).json
    assert (cordoned["cordoned"], cordoned["drain"]) == (True, None)
    await _told(worker, True, False)
    assert (await master.api.post("/nodes/one/uncordon")).json["cordoned"] is False
    await worker.assigned(waiting["taskId"])
    assert worker.stops == [] and await worker.end(work) == "applied"


async def test_a_leader_elsewhere_knows_of_it_at_once(masters: Masters) -> None:
    """Each of these would otherwise wait for the leader's next look at the nodes, a second later."""
    leader, other = await masters.start("one"), await masters.start("two")
    await other.worker("node-1")
    view = leader.server.context.view

    async def is_known(drained: bool) -> Any:
        node = view.node("node-1")
        return node is not None and (node.drain is not None) == drained

    await eventually(lambda: is_known(False), "the leader to know the node")
    began = time.monotonic()
    for drained in (True, False) * 4:
        await other.api.post(f"/nodes/node-1/{'drain' if drained else 'uncordon'}")
        await eventually(partial(is_known, drained), "the leader to know of it")
    assert time.monotonic() - began < 4.0


async def test_it_outlives_the_worker_and_the_master(masters: Masters) -> None:
    first = await masters.start("one")
    worker = await first.worker("node-1")
    work = await _started(first, worker)
    await _drain(first, "node-1")
    await _told(worker, True)
    worker.drains.clear()
    await worker.connect([held(work)], instance="restarted")
    await _told(worker, True)
    await first.stop()
    second = await masters.start("one")
    worker = second.new_worker("node-1")
    await worker.connect([held(work)])
    await _told(worker, True)
    node = await second.api.node("node-1")
    assert (node["cordoned"], node["drain"]["deadlineSeconds"]) == (True, None)
    assert "draining" in (await second.api.submit())["schedulingError"]


async def test_a_drain_at_another_master_reaches_the_worker_and_the_leader(masters: Masters) -> None:
    leader, follower = await masters.start("one"), await masters.start("two")
    worker = await leader.worker("node-1")
    work = await _started(leader, worker)

    async def known() -> bool:
        return follower.server.context.view.node("node-1") is not None

    await eventually(known, "the follower to know the node")
    await _drain(follower, "node-1", {"deadlineSeconds": 0})
    await _told(worker, True)
    await worker.stopped(work.task_id)


async def test_a_deadline_that_cannot_be_is_refused(master: RunningMaster) -> None:
    for seconds in (-1, "5", True, 1e300, [1]):
        answer = await master.api.post("/nodes/nobody/drain", {"deadlineSeconds": seconds})
        assert (answer.status, answer.field) == (400, "deadlineSeconds"), seconds
    assert (await master.api.post("/nodes/nobody/drain", {"soon": True})).status == 400
    assert (await master.api.post("/nodes/nobody/drain")).status == 404
