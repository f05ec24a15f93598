"""Counts by state that no table is read for."""

from collections.abc import Mapping

from podling.core.lifecycle import Cancel, Reported
from podling.core.protocol import ReportKind
from podling.core.task import TaskStatus
from podling.master.context import MasterContext
from podling.master.loops.changes import ChangesFeed
from tests.builders import build_batch, build_report, build_task, insertion
from tests.master.masters import RunningMaster
from tests.master.world import World, assigned, insert


async def live_through(context: MasterContext) -> None:
    """Have a task in each state."""
    await insert(context)
    await assigned(context)
    for kinds in ((ReportKind.RUNNING,), (ReportKind.RUNNING, ReportKind.ENDED)):
        task = await assigned(context)
        for kind in kinds:
            report = build_report(task, kind, exit_code=0 if kind is ReportKind.ENDED else None)
            await context.committer.apply(task.task_id, Reported(report=report, node_id="node-1"))
    await context.committer.apply((await insert(context)).task_id, Cancel())
    failed = build_report(task := await assigned(context), ReportKind.ENDED, exit_code=1)
    await context.committer.apply(task.task_id, Reported(report=failed, node_id="node-1"))


def shown(context: MasterContext) -> Mapping[TaskStatus, int]:
    return context.tally.counts()


async def test_every_master_counts_what_any_of_them_commits(world: World) -> None:
    leader, other = await world.leader(), world.context("two")
    feeds = [ChangesFeed(leader), ChangesFeed(other)]
    for feed in feeds:
        await feed.start()
    await live_through(leader)
    await insert(other)
    for feed in feeds:
        await feed.catch_up()
    counted = await world.store.count_tasks()
    assert counted == dict.fromkeys(TaskStatus, 1) | {TaskStatus.PENDING: 2}
    assert shown(leader) == shown(other) == counted


async def test_a_master_begins_with_what_is_there(world: World) -> None:
    await live_through(await world.leader())
    late = world.context("late")
    await ChangesFeed(late).start()
    assert shown(late) == await world.store.count_tasks()


async def test_what_others_removed_or_wrote_unseen_is_put_right_by_a_count(world: World) -> None:
    context = world.context()
    await ChangesFeed(context).start()
    await world.store.commit(build_batch([insertion(build_task())]))
    assert shown(context)[TaskStatus.PENDING] == 0
    await context.tally.count()
    assert shown(context)[TaskStatus.PENDING] == 1
    await insert(context)
    assert shown(context)[TaskStatus.PENDING] == 2


async def test_an_overview_counts_nothing_in_the_store(master: RunningMaster) -> None:
    calls = master.server.context.measures.store
    names = {"count_pending", "list_tasks", "load_tasks", "count_tasks", "snapshot"}

    def count() -> int:
        return sum(sum(cell.counts) for (name,), cell in calls.cells.items() if name in names)

    await master.api.submit()
    before = count()
    for _ in range(10):
        assert (await master.api.get("/cluster")).json["tasks"]["pending"] == 1
    assert count() - before <= 2  # the sampler's own
