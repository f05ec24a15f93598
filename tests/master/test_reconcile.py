"""What a worker holds against what its node should have."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest

from podling.core.lifecycle import apply
from podling.core.protocol import HeldAttempt, HeldState
from podling.core.spec import AlertWish
from podling.core.task import TaskEvent, TaskStatus
from podling.core.timeline import RESTORED
from podling.master.sessions.reconcile import assignment_of, reconcile
from podling.store.base import Store, TaskWrite, WriteStatus
from tests.builders import NOW, build_batch, build_spec, build_task, change_of, ended
from tests.core.clusters import sized, wanting
from tests.master.bare_master import Leader
from tests.master.masters import RunningMaster
from tests.master.world import Faulty


@pytest.fixture
async def leader() -> Leader:
    leader = Leader()
    await leader.lead()
    return leader


async def test_what_ended_at_another_master_is_not_delivered_again(leader: Leader) -> None:
    """Its own view knows of that only later."""
    leader.put(sized("node-1"))
    task = wanting({"cpu": 100})
    await leader.submit(task)
    await leader.scheduler.run_once()
    live = await leader.stored(task)
    missing = (await reconcile(leader.context, "node-1", ())).assign
    assert [(item.task_id, item.attempt) for item in missing] == [(task.task_id, 1)]
    await leader.store.commit(build_batch([change_of(live, apply(live, ended(live), NOW))]))
    assert leader.context.view.task(task.task_id) is not None
    assert (await reconcile(leader.context, "node-1", ())).assign == ()


async def test_a_worker_that_lost_its_journal_runs_no_attempt_a_second_time(master: RunningMaster) -> None:
    worker = await master.worker("one")
    once = await worker.assigned((await master.api.submit(delivery="at_most_once"))["taskId"])
    again = await worker.assigned((await master.api.submit(retry={"baseSeconds": 0.01}))["taskId"])
    await worker.start(again)
    await worker.close()

    welcome = await worker.connect(starts_afresh=True)
    assert welcome.desired.assign == ()
    failed = await master.api.task(once.task_id)
    assert (failed["status"], failed["errorCode"]) == ("failed", "UNKNOWN_EXIT")
    assert (failed["exitCode"], failed["deadLetterReason"]) == (None, "AT_MOST_ONCE")
    assert "journal" in failed["error"]
    await worker.assigned(again.task_id, 2)


async def test_what_a_worker_has_forgotten_is_ended_also_where_it_is_not_known_yet(leader: Leader) -> None:
    """Another master has given it out just now; the one that the worker comes back to hears of it later."""
    leader.put(sized("node-1"))
    task = wanting({"cpu": 100})
    await leader.submit(task)
    await leader.scheduler.run_once()
    leader.context.view.clear()
    desired = await reconcile(leader.context, "node-1", (), starts_afresh=True)
    assert desired.assign == ()
    assert (await leader.stored(task)).error_code == "UNKNOWN_EXIT"


async def test_a_worker_that_kept_its_journal_is_given_again_what_it_never_got(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await worker.assigned((await master.api.submit(delivery="at_most_once"))["taskId"])
    await worker.close()
    assert [item.key for item in (await worker.connect()).desired.assign] == [work.key]
    assert (await master.api.task(work.task_id))["status"] == TaskStatus.SCHEDULED


async def test_what_was_live_in_a_backup_and_is_held_no_more_has_ended(master: RunningMaster) -> None:
    """Its worker has told the end to a database that is gone, and forgotten it: to run it again is wrong."""
    worker = await master.worker("one")
    ended_since = await worker.assigned((await master.api.submit(delivery="at_most_once"))["taskId"])
    runs_on = await worker.assigned((await master.api.submit())["taskId"])
    await worker.start(runs_on)
    for work in (ended_since, runs_on):
        await _note_restored(master, work.task_id)
    await worker.close()

    held = HeldAttempt(task_id=runs_on.task_id, attempt=1, state=HeldState.RUNNING)
    welcome = await worker.connect([held])
    assert (welcome.desired.assign, welcome.desired.stop) == ((), ())
    failed = await master.api.task(ended_since.task_id)
    assert (failed["status"], failed["errorCode"], failed["exitCode"]) == ("failed", "UNKNOWN_EXIT", None)
    assert "backup" in failed["error"]
    assert (await master.api.task(runs_on.task_id))["status"] == TaskStatus.RUNNING


async def test_what_a_worker_misses_is_looked_up_at_once(leader: Leader) -> None:
    """A statement a task, one after the other, would hold up the hello of a big node."""
    calls = Counter[str]()
    leader.put(sized("node-1", slots=50))
    await leader.submit(*(wanting({"cpu": 10}) for _ in range(20)))
    await leader.scheduler.run_once()
    faulty = Faulty(leader.store)
    for name in ("find_events", "load_events", "load_attempts", "load_tasks"):
        faulty.before[name] = _counting(calls, name)
    leader.context.store = cast(Store, faulty)
    assert len((await reconcile(leader.context, "node-1", ())).assign) == 20
    assert calls == {"load_tasks": 1, "find_events": 1}


def _counting(calls: Counter[str], name: str) -> Callable[[], Awaitable[None]]:
    async def count() -> None:
        calls[name] += 1

    return count


async def _note_restored(master: RunningMaster, task_id: str) -> None:
    """Write the line that a restore writes for an attempt that was live."""
    store = master.server.context.store
    task = (await store.load_tasks([task_id]))[task_id]
    line = TaskEvent(task_id=task_id, at=NOW, type=RESTORED, actor="operator", message="m", attempt=1)
    write = TaskWrite(
        task=replace(task, version=task.version + 1), expected_version=task.version, events=(line,)
    )
    [result] = await store.commit(build_batch([write]))
    assert result.status is WriteStatus.APPLIED


def test_a_worker_is_not_told_whom_its_tasks_tell() -> None:
    spec = build_spec(alerts=(AlertWish(mail=("ops@example.org",)),))
    assigned = assignment_of(build_task(spec=spec, node_id="n", attempt=1))
    assert assigned.spec == replace(spec, alerts=())
