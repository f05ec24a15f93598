"""Nodes that are taken off the list, dead ones on an operator's word."""

from typing import Any

import pytest

from podling.core.errors import Conflict, NotFound, Unavailable
from podling.core.lifecycle import Assign
from podling.core.spec import Delivery
from podling.core.task import StopReason, TaskStatus
from podling.master.committer import Happening
from podling.master.loops.node_monitor import NodeMonitor
from podling.master.loops.peers import Peers
from podling.master.operations.removal import remove_as_lost
from podling.master.sessions.registry import Sessions
from tests.builders import at, build_node
from tests.master.fake_worker import FakeWorker, held
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.world import HELLO, LEASE, Faulty, World, assigned, away, insert


async def _started(master: RunningMaster, worker: FakeWorker, **fields: Any) -> Any:
    task = await master.api.submit(**fields)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work


async def _remove(master: RunningMaster, node_id: str, **query: str) -> Any:
    return await master.api.call("DELETE", f"/nodes/{node_id}", params=query)


async def test_a_dead_nodes_tasks_go_elsewhere_without_waiting_for_the_lease(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    fails = await _started(master, worker, onLost="fail")
    await worker.vanish()
    other = await master.worker("two")
    busy = await _remove(master, "one")
    assert (busy.status, busy.code) == (409, "node_busy")
    assert "--lost" in busy.json["error"]
    assert (await _remove(master, "one", lost="true")).status == 200
    assert (await master.api.get("/nodes/one")).status == 404
    await other.end(await other.assigned(work.task_id, 2))
    first = (await master.api.get(f"/tasks/{work.task_id}/attempts")).json[0]
    assert (first["status"], first["errorCode"]) == ("lost", "NODE_LOST")
    assert "an operator removed node one.test (one) as lost" in first["error"]
    failed = await master.api.task(fails.task_id)
    assert (failed["status"], failed["errorCode"]) == ("failed", "NODE_LOST")


async def test_what_would_be_held_needs_a_word_of_its_own(master: RunningMaster) -> None:
    worker = await master.worker("one")
    once = await _started(master, worker, delivery="at_most_once")
    holds = await _started(master, worker, onLost="hold")
    await worker.vanish()
    refused = await _remove(master, "one", lost="true")
    assert (refused.status, refused.code) == (409, "node_held")
    assert set(refused.json["details"]["taskIds"]) == {once.task_id, holds.task_id}
    assert "podling resolve" in refused.json["error"]
    for work in (once, holds):
        assert (await master.api.task(work.task_id))["status"] == "running"
    assert (await _remove(master, "one", lost="true", held="failed")).status == 200
    for work in (once, holds):
        task = await master.api.task(work.task_id)
        assert (task["status"], task["held"], task["errorCode"]) == ("failed", None, "NODE_LOST")


async def test_a_worker_that_lived_after_all_stops_what_was_given_away(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    other = await master.worker("two")
    assert (await _remove(master, "one", lost="true")).status == 200
    goodbye = await worker.ended()  # its next beat does not count any more
    assert goodbye is not None and goodbye.reconnect
    await other.assigned(work.task_id, 2)
    welcome = await worker.connect([held(work)])
    assert [(order.task_id, order.reason) for order in welcome.desired.stop] == [
        (work.task_id, StopReason.STALE)
    ]
    assert (await master.api.node("one"))["status"] == "online"


async def _connected_thrice(master: RunningMaster) -> FakeWorker:
    worker = await master.worker("one")
    for _ in range(2):
        await worker.connect()
    worker.fall_silent()  # and half open: the master hears nothing of its end
    return worker


async def test_a_worker_that_comes_back_counts_anew_beside_its_half_open_session(
    master: RunningMaster,
) -> None:
    silent = await _connected_thrice(master)
    assert (await _remove(master, "one", lost="true")).status == 200
    goodbye = await silent.ended()
    assert goodbye is not None and goodbye.reason == "the node was removed from the list"
    worker = await master.worker("one")
    assert (await master.api.node("one"))["sessionNo"] == 1
    await _started(master, worker)


async def test_another_master_ends_the_session_of_a_node_that_was_removed(masters: Masters) -> None:
    first = await masters.start("machine-1")
    second = await masters.start("machine-2")
    silent = await _connected_thrice(second)
    await _seen_by(first, "one")
    assert (await _remove(first, "one", lost="true")).status == 200
    goodbye = await silent.ended()
    assert goodbye is not None and goodbye.reason == "the node was removed from the list"
    worker = await second.worker("one")
    await worker.acknowledged(await worker.beat_once())
    assert (await first.api.node("one"))["sessionNo"] == 1


async def test_it_may_come_back_before_the_other_master_knows_of_its_removal(world: World) -> None:
    context = world.context()
    sessions = Sessions(context, context.node_changed)
    for _ in range(3):
        old, _ = await sessions.open("node-1", HELLO)
    await world.store.remove_node("node-1")
    new, _ = await sessions.open("node-1", HELLO)
    assert (new.session_no, new.closing, old.closing) == (1, False, True)
    assert sessions.is_current(new)
    node = context.view.node("node-1")
    assert node is not None and node.session_no == 1


async def _seen_by(master: RunningMaster, node_id: str) -> None:
    async def seen() -> Any:
        return master.server.context.view.node(node_id)

    await eventually(seen, f"{node_id} to be known")


async def test_queries_that_mean_nothing_are_refused(master: RunningMaster) -> None:
    for query, field in (
        ({"lost": "maybe"}, "lost"),
        ({"lost": "true", "held": "lost"}, "held"),
        ({"held": "retry"}, "held"),
        ({"force": "true"}, "force"),
    ):
        answer = await _remove(master, "one", **query)
        assert (answer.status, answer.field) == (400, field)
    assert (await _remove(master, "one", lost="true")).status == 404


async def test_attempts_on_a_node_without_a_record_are_lost_after_a_lease(world: World) -> None:
    """What a crash between the two steps of a removal leaves behind."""
    context = await world.leader()
    monitor = NodeMonitor(context, lambda _: None)
    task = await insert(context)
    await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id="removed"))])
    await monitor.run_once()
    world.clock.passed += LEASE - 0.1
    await monitor.run_once()
    assert await _status(world, task.task_id) is TaskStatus.SCHEDULED
    world.clock.passed += 0.2
    await monitor.run_once()
    assert await _status(world, task.task_id) is TaskStatus.PENDING


async def test_what_a_hiccup_left_is_given_up_when_it_is_said_again(world: World) -> None:
    faulty = Faulty(world.store)
    context = await world.leader(store=faulty)
    await Sessions(context, lambda _: None).open("node-1", HELLO)
    waits = [await assigned(context, delivery=Delivery.AT_MOST_ONCE) for _ in range(2)]
    faulty.before["commit"] = away
    with pytest.raises(Unavailable, match="2 of its 2 tasks could not be given up"):
        await remove_as_lost(context, "node-1", "failed")
    del faulty.before["commit"]
    assert await world.store.load_node("node-1") is None
    with pytest.raises(Conflict) as refusal:
        await remove_as_lost(context, "node-1", None)
    assert refusal.value.code == "node_held"
    await remove_as_lost(context, "node-1", "failed")
    for task in waits:
        assert await _status(world, task.task_id) is TaskStatus.FAILED
    with pytest.raises(NotFound):
        await remove_as_lost(context, "node-1", "failed")


async def _status(world: World, task_id: str) -> TaskStatus:
    return (await world.store.load_tasks([task_id]))[task_id].status


async def test_a_node_that_was_removed_and_came_back_is_known_everywhere(world: World) -> None:
    """Its sessions are counted from one again; another master saw nothing of it in between."""
    one, two = world.context("one"), world.context("two")
    await Peers(two, lambda _: None).run_once()
    for _ in range(3):
        await world.store.open_session(build_node())
    peers = Peers(one, lambda _: None)
    await peers.run_once()
    await world.store.remove_node("node-1")
    await world.store.open_session(build_node(hostname="again", registered_at=at(60)))
    await peers.run_once()
    node = one.view.node("node-1")
    assert node is not None and (node.session_no, node.hostname) == (1, "again")
