"""The last minute of each queue: at the master that did the work, and at every other."""

from typing import Any

from podling.core.lifecycle import Cancel, Reported
from podling.core.protocol import ReportKind
from podling.core.task import TaskStatus
from podling.master import queue_counts
from podling.master.context import MasterContext
from podling.master.loops.changes import ChangesFeed
from podling.master.queue_counts import REST, QueueCounts
from podling.master.queue_rates import QueueRates
from tests.builders import at, build_report
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.world import World, assigned, insert


async def end(context: MasterContext, queue: str, exit_code: int | None = 0, **fields: Any) -> TaskStatus:
    """Have a task of this queue run and end."""
    task = await assigned(context, queue=queue, **fields)
    for kind in (ReportKind.RUNNING, ReportKind.ENDED):
        code = exit_code if kind is ReportKind.ENDED else None
        report = build_report(task, kind, exit_code=code, started_at=at(1), finished_at=at(3))
        task = await context.committer.apply(task.task_id, Reported(report=report, node_id="node-1"))
    return task.status


async def test_every_master_tells_what_ended_wherever_it_was_committed(world: World) -> None:
    leader, other = await world.leader(), world.context("two")
    feeds, rates = [ChangesFeed(leader), ChangesFeed(other)], [QueueRates(leader), QueueRates(other)]
    for feed, rate in zip(feeds, rates, strict=True):
        await feed.start()
        await rate.look(100.0)
    for _ in range(3):
        assert await end(leader, "mail") is TaskStatus.COMPLETED
    assert await end(leader, "mail", 1) is TaskStatus.FAILED
    assert await end(leader, "slow", 1, max_attempts=3) is TaskStatus.PENDING
    await other.committer.apply((await insert(other, queue="slow")).task_id, Cancel())
    await insert(other, queue="mail")
    for feed, rate in zip(feeds, rates, strict=True):
        await feed.catch_up()
        await rate.look(110.0)
        found = rate.overview(120.0)
        mail, slow = found["mail"], found["slow"]
        assert (mail["succeeded"], mail["failed"], mail["retried"]) == (3, 1, 0)
        assert (mail["successRate"], mail["retryRate"]) == (0.75, 0.0)
        assert mail["tasksPerSecond"] == 4 / 20
        assert mail["meanLatencySeconds"] == 2.0
        assert (mail["depth"], mail["running"]) == (1, 0)
        assert (slow["retried"], slow["cancelled"], slow["retryRate"]) == (1, 1, 1.0)
        assert (slow["successRate"], slow["meanLatencySeconds"]) == (None, None)


async def test_what_ended_more_than_a_minute_ago_is_not_told(world: World) -> None:
    context = await world.leader()
    rates = QueueRates(context)
    await rates.look(0.0)
    await end(context, "mail")
    for second in range(5, 66, 5):
        await rates.look(float(second))
    assert rates.overview(59.0)["mail"]["succeeded"] == 1
    assert rates.overview(66.0) == {}
    await rates.look(75.0)
    assert context.queue_counts.snapshot() == {}, "a queue that is idle takes up no room"
    await end(context, "mail")
    assert rates.overview(76.0)["mail"]["succeeded"] == 1


async def test_an_operators_queues_are_there_while_they_are_idle(master: RunningMaster) -> None:
    await master.api.put("/queues/mail", {"maxInFlight": 3})
    await master.api.put("/queues/*", {"maxInFlight": 9})
    worker = await master.worker()
    task = await master.api.submit(queue="other")
    await worker.start(await worker.assigned(task["taskId"]))
    found = (await master.api.get("/metrics")).json
    assert {name: queue["running"] for name, queue in found["queues"].items()} == {
        "*": 1,
        "mail": 0,
        "other": 1,
    }
    assert found["depthsAreWhole"] is True
    text = (await master.api.get("//metrics")).text
    assert 'podling_queue_running_tasks{queue="other"} 1.0' in text
    assert 'podling_queue_depth{queue="mail"} 0.0' in text


async def test_a_follower_counts_what_waits_too(masters: Masters) -> None:
    leader, follower = await masters.start("a"), await masters.start("b")
    await leader.api.submit(queue="mail")

    async def counted() -> bool:
        follower.server.sampler.queues._snapshots.clear()  # so that it looks again at once
        await follower.server.sampler.run_once()
        found = (await follower.api.get("/metrics")).json
        return bool(found["queues"].get("mail", {}).get("depth") == 1)

    assert await eventually(counted, "the follower to count the task")
    assert 'podling_queue_depth{queue="mail"} 1.0' in (await follower.api.get("//metrics")).text


def test_labels_have_a_bound_whatever_clients_call_their_queues() -> None:
    counts, always = QueueCounts(), ("spoken-of",)
    for turn in range(5):
        numbers = {f"made-up-{turn}-{index:03}": 1.0 for index in range(queue_counts.MOST_LABELS)}
        found = counts.labelled(numbers | {"spoken-of": 1.0}, always)
        assert sum(found.values()) == len(numbers) + 1
        assert found["spoken-of",] == 1.0
        assert {label for (label,) in found} <= {REST, "spoken-of"} | {
            f"made-up-0-{index:03}" for index in range(queue_counts.MOST_LABELS)
        }


async def test_queues_beyond_the_bound_are_counted_together(world: World) -> None:
    context = await world.leader()
    counts = context.queue_counts
    for index in range(queue_counts.MOST_QUEUES):
        counts._of(f"made-up-{index}")
    await end(context, "one-more")
    await end(context, "and-another")
    found = counts.snapshot()
    assert (len(found), found[REST].succeeded) == (queue_counts.MOST_QUEUES + 1, 2)
