"""A node that keeps failing or refusing, beside good ones."""

from podling.core.backoff import FIRST_SECONDS
from podling.core.retry import ErrorCode
from podling.master.loops.changes import ChangesFeed
from podling.master.loops.scheduler import Scheduler
from tests.builders import ended
from tests.master.fake_worker import FakeWorker
from tests.master.masters import RunningMaster
from tests.master.world import World, assigned

AT_ONCE = {"baseSeconds": 0.01, "jitter": 0}


async def _failed(worker: FakeWorker, task_id: str, attempt: int = 1) -> None:
    work = await worker.assigned(task_id, attempt)
    assert await worker.end(work, None, error_code=ErrorCode.IMAGE_PULL, never_started=True) == "applied"


async def test_a_failed_pull_is_tried_again_elsewhere(master: RunningMaster) -> None:
    bad = await master.worker("bad", labels={"disk": "ssd"})
    wish = {"affinity": [{"label": "disk", "operator": "exists", "weight": 100}]}
    task = await master.api.submit(maxAttempts=3, retry=AT_ONCE, placement=wish)
    good = await master.worker("good", slots=2)
    await _failed(bad, task["taskId"])
    await good.start(await good.assigned(task["taskId"], 2))
    others = [await master.api.submit(placement=wish) for _ in range(2)]
    await good.assigned(others[0]["taskId"])
    explained = (await master.api.get(f"/tasks/{others[1]['taskId']}/explain")).json
    assert "backing_off_after_a_failure" in [reason["code"] for reason in explained["reasons"]]
    (lack,) = next(node["lacks"] for node in explained["nodes"] if node["nodeId"] == "bad")
    assert "backs off" in lack
    another = await master.api.submit(placement=wish | {"nodeSelector": {"disk": "ssd"}})
    await bad.assigned(another["taskId"])  # of another shape


async def test_a_node_that_sends_work_back_is_not_asked_again_at_once(master: RunningMaster) -> None:
    bad = await master.worker("bad")
    task = await master.api.submit(retry=AT_ONCE)
    good = await master.worker("good")
    work = await bad.assigned(task["taskId"])
    assert await bad.refuse(work, "no runtime") == "applied"
    await good.assigned(task["taskId"], 2)
    assert (await master.api.task(task["taskId"]))["attempt"] == 2
    assert len(bad.assignments) == 1


async def test_the_only_node_is_asked_again(master: RunningMaster) -> None:
    only = await master.worker("only")
    task = await master.api.submit(maxAttempts=2, retry=AT_ONCE)
    await _failed(only, task["taskId"])
    await only.end(await only.assigned(task["taskId"], 2))
    assert (await master.api.task(task["taskId"]))["status"] == "completed"


async def test_whoever_takes_the_lead_goes_on_with_the_back_offs_that_it_saw(world: World) -> None:
    leader, watching = await world.leader("one"), world.context("two")
    Scheduler(watching)
    changes = ChangesFeed(watching)
    await changes.start()
    task = await assigned(leader)
    await changes.run_once()
    await leader.committer.apply(task.task_id, ended(task, exit_code=None, error_code=ErrorCode.IMAGE_PULL))
    await changes.run_once()
    assert watching.view.back_offs.current(task.shape, 0.0) == {"node-1": FIRST_SECONDS}
    started_later = world.context("three")
    Scheduler(started_later)
    await ChangesFeed(started_later).start()
    assert started_later.view.back_offs.current(task.shape, 0.0) == {}
