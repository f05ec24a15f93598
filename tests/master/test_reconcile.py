"""What a worker holds against what its node should have."""

import pytest

from podling.core.lifecycle import apply
from podling.core.task import TaskStatus
from podling.master.sessions.reconcile import reconcile
from tests.builders import NOW, build_batch, change_of, ended
from tests.core.clusters import sized, wanting
from tests.master.bare_master import Leader
from tests.master.masters import RunningMaster


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


async def test_a_worker_that_kept_its_journal_is_given_again_what_it_never_got(master: RunningMaster) -> None:
    worker = await master.worker("one")
    work = await worker.assigned((await master.api.submit(delivery="at_most_once"))["taskId"])
    await worker.close()
    assert [item.key for item in (await worker.connect()).desired.assign] == [work.key]
    assert (await master.api.task(work.task_id))["status"] == TaskStatus.SCHEDULED
