"""Workers that stop, restart, move or come back late, and what the timeline tells of it."""

import asyncio
from typing import Any

from podling.core.node import NodeStatus
from podling.core.protocol import HeldState
from podling.core.task import TaskStatus
from podling.master.loops.node_monitor import NodeMonitor
from podling.wire.session import Desired, Goodbye
from tests.builders import build_node
from tests.master.fake_worker import FakeWorker, held
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster, eventually
from tests.master.world import LEASE, World, assigned


async def _started(master: RunningMaster, worker: FakeWorker, **fields: Any) -> Any:
    task = await master.api.submit(**fields)
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    return work


async def _lines(master: RunningMaster, task_id: str, type_: str) -> list[str]:
    lines = (await master.api.get(f"/tasks/{task_id}/timeline")).json
    return [line["message"] for line in lines if line["type"] == type_]


# A clean stop


async def _say_goodbye(master: RunningMaster, worker: FakeWorker) -> dict[str, Any]:
    await worker.send(Goodbye(reason="it got SIGTERM", reconnect=False))
    await worker.until(lambda: worker.closed, "the master to end the session")

    async def offline() -> Any:
        node = await master.api.node(worker.node_id)
        return node if node["status"] == "offline" else None

    return dict(await eventually(offline, "the node to be offline"))


async def test_a_stopped_worker_is_offline_at_once_because_it_was_stopped(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    node = await _say_goodbye(master, worker)
    assert node["lostReason"] == "its worker was stopped: it got SIGTERM"
    assert (await master.api.task(work.task_id))["status"] == "running"
    waiting = await master.api.submit()
    assert waiting["schedulingError"] == "no node is online"
    desired = (await worker.connect([held(work)], instance="next start")).desired
    assert desired.stop == ()
    node = await master.api.node("one")
    assert (node["status"], node["lostReason"]) == ("online", None)
    assert await worker.end(work) == "applied"


async def test_reports_before_the_goodbye_are_heard(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    ended = asyncio.create_task(worker.end(work))
    await asyncio.sleep(0)
    await _say_goodbye(master, worker)
    assert await ended == "applied"


async def test_a_stopped_worker_that_stays_away_loses_its_tasks_after_a_lease(masters: Masters) -> None:
    master = await masters.start(lease_seconds=SHORT_LEASE_SECONDS)
    worker = await master.worker("one")
    work = await _started(master, worker)
    await _say_goodbye(master, worker)
    other = await master.worker("two")
    await other.assigned(work.task_id, 2)
    first = (await master.api.get(f"/tasks/{work.task_id}/attempts")).json[0]
    assert (first["status"], first["errorCode"]) == ("lost", "NODE_LOST")
    assert "its worker was stopped: it got SIGTERM" in first["error"]
    assert (await master.api.node("one"))["lostReason"] == "its worker was stopped: it got SIGTERM"


async def test_a_stopped_node_without_tasks_is_not_declared_lost(world: World) -> None:
    context = await world.leader()
    number = await world.store.open_session(build_node())
    stopped = build_node(session_no=number, status=NodeStatus.OFFLINE, lost_reason="its worker was stopped")
    await world.store.save_node(stopped, number)
    context.view.put_node(stopped)
    monitor = NodeMonitor(context, lambda _: None)
    for _ in range(3):
        await monitor.run_once()
        world.clock.passed += LEASE
    (beat,) = await world.store.load_beats()
    assert not beat.lost
    task = await assigned(context)
    await monitor.run_once()
    (beat,) = await world.store.load_beats()
    assert beat.lost
    assert (await world.store.load_tasks([task.task_id]))[task.task_id].status is TaskStatus.PENDING


# Restart, move, return


async def test_a_restarted_workers_adoptions_are_told(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work, over = await _started(master, worker), await _started(master, worker)
    await worker.vanish()
    await worker.connect([held(work)])
    assert await _lines(master, work.task_id, "adopted") == []  # the same program
    await worker.vanish()
    await worker.connect([held(work), held(over, HeldState.ENDED)], instance="another start")
    assert await _lines(master, work.task_id, "adopted") == [
        "the restarted worker of node one adopted attempt 1, which goes on"
    ]
    assert await _lines(master, over.task_id, "adopted") == []
    await worker.vanish()
    await worker.connect([held(work)], instance="another start")
    assert len(await _lines(master, work.task_id, "adopted")) == 1


async def test_nothing_is_said_of_what_a_restarted_worker_has_not_looked_at_yet(masters: Masters) -> None:
    """Its engine hangs, so it only beats, and what it says it holds is what it held before."""
    master = await masters.start(lease_seconds=SHORT_LEASE_SECONDS)
    worker = await master.worker("one")
    works = [await _started(master, worker, delivery="at_most_once") for _ in range(2)]
    runs, gone = works
    await worker.vanish()
    for work in works:
        await master.until(work.task_id, lambda task: task["held"])
    welcome = await worker.connect([held(runs), held(gone)], instance="another start", beats_only=True)
    assert welcome.desired == Desired()
    await worker.acknowledged(await worker.beat_once())
    assert (await master.api.node("one"))["status"] == "online"
    for work in works:
        assert (await master.api.task(work.task_id))["held"]
        assert await _lines(master, work.task_id, "released") == []
    await worker.connect([held(runs), held(gone, HeldState.ENDED)], instance="another start")
    assert len(await _lines(master, runs.task_id, "released")) == 1
    assert len(await _lines(master, runs.task_id, "adopted")) == 1
    for type_ in ("released", "adopted"):
        assert await _lines(master, gone.task_id, type_) == []
    assert (await master.api.task(gone.task_id))["held"]
    assert await worker.end(gone, 3) == await worker.end(runs) == "applied"


async def test_a_worker_at_another_address_is_the_same_node(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await _started(master, worker)
    await worker.vanish()
    await worker.connect([held(work)], hostname="moved.test", port=9999, instance="moved")
    (node,) = (await master.api.get("/nodes")).json
    assert (node["nodeId"], node["hostname"], node["port"]) == ("one", "moved.test", 9999)
    assert (node["sessionNo"], node["runningTasks"]) == (2, 1)
    assert await worker.end(work) == "applied"


async def test_an_overlap_after_a_dead_agent_is_told_once(masters: Masters) -> None:
    """I17: it could not stop its containers; the next start finds them."""
    master = await masters.start(lease_seconds=SHORT_LEASE_SECONDS)
    worker = await master.worker("one")
    runs, over, stopped = [await _started(master, worker) for _ in range(3)]
    await worker.vanish()
    other = await master.worker("two")
    for work in (runs, over, stopped):
        await other.end(await other.assigned(work.task_id, 2))
    await worker.connect([held(stopped, HeldState.ENDED)])  # the same program: its agent lived
    assert await _lines(master, stopped.task_id, "overlap") == []
    await worker.vanish()
    for _ in range(2):
        await worker.connect([held(runs), held(over, HeldState.ENDED)], instance="another start")
        await worker.vanish()
    (line,) = await _lines(master, runs.task_id, "overlap")
    assert "attempt 1 still ran when node one came back, beside attempt 2" in line
    (line,) = await _lines(master, over.task_id, "overlap")
    assert "may have run beside attempt 2" in line
    assert (await master.api.task(runs.task_id))["status"] == "completed"


async def test_a_held_task_that_goes_on_says_so(masters: Masters) -> None:
    master = await masters.start(lease_seconds=SHORT_LEASE_SECONDS)
    worker = await master.worker("one")
    work = await _started(master, worker, onLost="hold")
    await worker.vanish()
    await master.until(work.task_id, lambda task: task["held"])
    await worker.connect([held(work)])
    assert await _lines(master, work.task_id, "released") == ["node one came back with it, so it goes on"]
