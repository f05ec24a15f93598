"""A master that could not follow the feed for so long that the feed has forgotten what it missed."""

from podling.core.lifecycle import apply
from podling.core.task import Task
from podling.master.loops.changes import RELOAD_AFTER_SECONDS, ChangesFeed
from tests.builders import NOW, assignment, build_batch, change_of, ended, insertion
from tests.core.clusters import sized, wanting
from tests.master.bare_master import Leader, WatchedStore


async def running_elsewhere(store: WatchedStore) -> Task:
    """Have another master assign a task."""
    task = wanting({"cpu": 100})
    await store.commit(build_batch([insertion(task)]))
    write = assignment(task)
    await store.commit(build_batch([write]))
    return write.task


async def test_what_was_missed_is_read_from_the_tasks_themselves() -> None:
    leader = Leader(WatchedStore(most_changes=0))
    view, store = leader.context.view, leader.store
    changes = ChangesFeed(leader.context)
    await changes.start()
    leader.put(sized("node-1"))
    heard: list[str] = []
    leader.context.feed.listen(lambda applied: heard.extend(item.after.status for item in applied))

    task = await running_elsewhere(store)
    await changes.run_once()
    assert view.live_task_ids() == ()
    leader.clock.seconds += RELOAD_AFTER_SECONDS + 1
    await changes.run_once()
    assert view.live_task_ids() == (task.task_id,)

    await store.commit(build_batch([change_of(task, apply(task, ended(task), NOW))]))
    await changes.run_once()
    assert view.live_task_ids() == (task.task_id,)
    leader.clock.seconds += RELOAD_AFTER_SECONDS + 1
    await changes.run_once()
    assert view.live_task_ids() == () and view.used("node-1") == {}
    assert heard == ["scheduled", "completed"]
