"""What was left by SQL is taken in once, in order, and nothing that is wrong with one thing stops another."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from podling.core.access import LOCAL, Role
from podling.core.errors import StoreUnavailable
from podling.core.lifecycle import Assign
from podling.core.permissions import Limits, Policy
from podling.core.queue import QueuePolicy
from podling.core.task import Task, TaskStatus
from podling.master.committer import Happening
from podling.master.context import MasterContext
from podling.master.loops import inbox as loop
from podling.master.loops.election import Election
from podling.master.loops.inbox import InboxLoop
from podling.master.operations import inbox, tasks
from podling.master.operations.admission import Entry
from podling.store.ports.decisions import DecisionQuery
from podling.store.ports.inbox import InboxKind
from podling.wire.tasks import parse_task
from tests.master.masters import Masters, eventually
from tests.master.world import Faulty, World

JOB = {"name": "job", "image": "busybox:local"}
SUBMIT, CANCEL = InboxKind.SUBMIT, InboxKind.CANCEL
HTTP = Entry(actor=LOCAL)
_ENDLESS = 1000


async def leave(context: MasterContext, task_id: str, kind: InboxKind = SUBMIT, **fields: Any) -> int:
    body = json.dumps(JOB | fields) if kind is SUBMIT else "{}"
    return await context.store.inbox.put(kind, task_id, body)


async def drain(reader: InboxLoop) -> None:
    """Run the loop until it has nothing to do."""
    for _ in range(_ENDLESS):
        if await reader.run_once() is None:
            return
    raise AssertionError("the loop never came to an end")


async def found(context: MasterContext, *task_ids: str) -> list[Task]:
    stored = await context.store.load_tasks(list(task_ids))
    return [stored[task_id] for task_id in task_ids]


async def waiting(context: MasterContext) -> list[str]:
    return [item.task_id for item in await context.store.inbox.page(0, _ENDLESS, 10**9)]


async def test_a_task_becomes_what_it_would_have_by_http(world: World) -> None:
    context = await world.leader()
    await leave(context, "a", queue="mail", priority=5, labels={"team": "x"})
    await drain(InboxLoop(context))
    (task,) = await found(context, "a")
    assert (task.status, task.spec.queue, task.spec.priority) == (TaskStatus.PENDING, "mail", 5)
    by_http, _ = await tasks.submit(context, parse_task(JOB | {"queue": "mail"}), HTTP)
    assert by_http.shape == task.shape and context.queues.is_declared("mail")
    assert await waiting(context) == []
    assert [task.task_id for task in await context.store.ready_page(10)] == ["a", by_http.task_id]


async def test_only_the_leader_takes_anything_in(world: World) -> None:
    context = world.context()
    await leave(context, "a")
    assert await InboxLoop(context).run_once() is None
    assert await waiting(context) == ["a"]
    await Election(context).run_once()
    await drain(InboxLoop(context))
    assert await waiting(context) == []


async def test_bad_ones_end_as_failed_tasks_that_say_why_and_stop_nobody(world: World) -> None:
    context = await world.leader()
    bodies = {
        "unknown": JOB | {"nmae": "x"},
        "image": {"name": "job", "image": "-v"},
        "empty": {},
        "name": JOB | {"name": "a\u202eb", "queue": "no such name!"},
        "deep": JOB | {"labels": json.loads("[" * 90 + "]" * 90)},
        "number": JOB | {"priority": True},
        "key": JOB | {"idempotencyKey": "k" * 300},
    }
    for task_id, body in bodies.items():
        await context.store.inbox.put(SUBMIT, task_id, json.dumps(body))
        await leave(context, f"{task_id}-good")
    await drain(InboxLoop(context))
    good = await found(context, *(f"{task_id}-good" for task_id in bodies))
    assert {task.status for task in good} == {TaskStatus.PENDING}
    bad = dict(zip(bodies, await found(context, *bodies), strict=True))
    for task in bad.values():
        assert (task.status, task.error_code, task.attempt) == (TaskStatus.FAILED, "NOT_ADMITTED", 0)
        assert task.dead_letter_reason == "NOT_ADMITTED"
    assert bad["unknown"].error == "nmae: no such field" and bad["unknown"].spec.name == "job"
    assert (bad["image"].error or "").startswith("image: ")
    assert bad["empty"].error == "name: is required" and bad["empty"].spec.name == "refused"
    assert (bad["name"].spec.name, bad["name"].spec.queue) == ("refused", "default")
    assert "nested deeper" in (bad["deep"].error or "")


async def test_a_bug_in_reading_one_item_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = inbox.parse_task

    def broken(plain: Any) -> Any:
        if plain["name"] == "bug":
            raise ZeroDivisionError("a bug")
        return real(plain)

    monkeypatch.setattr(inbox, "parse_task", broken)
    context = await world.leader()
    await leave(context, "bad", name="bug")
    await leave(context, "good")
    await drain(InboxLoop(context))
    bad, good = await found(context, "bad", "good")
    assert (bad.status, good.status) == (TaskStatus.FAILED, TaskStatus.PENDING)
    assert "fault of Podling's" in (bad.error or "") and "a bug" in caplog.text


async def test_a_refusal_of_the_policy_or_a_guardrail_is_a_decision_of_the_task(world: World) -> None:
    context = await world.leader()
    await context.store.queues.save("mail", QueuePolicy(max_submits_per_minute=1, max_payload_bytes=300))
    await context.queues.learn()
    await leave(context, "privileged", privileged=True, labels={"team": "x"}, idempotencyKey="key")
    await leave(context, "large", queue="mail", env={"A": "x" * 300})
    await leave(context, "first", queue="mail")
    await leave(context, "second", queue="mail")
    await drain(InboxLoop(context))
    privileged, large, first, second = await found(context, "privileged", "large", "first", "second")
    assert (first.status, second.status) == (TaskStatus.PENDING, TaskStatus.FAILED)
    assert "takes at most 1 a minute" in (second.error or "")
    assert "bytes of JSON" in (large.error or "") and not large.spec.main.env
    assert privileged.spec.main.privileged and privileged.spec.labels == {"team": "x"}
    await context.decisions.run_once()
    for task, code in ((privileged, "policy_denied"), (large, "PAYLOAD_TOO_LARGE")):
        (decision,) = await context.store.decisions.find(DecisionQuery(task_id=task.task_id))
        assert (decision.code, decision.door) == (code, "sql") and decision.actor.startswith("sql:")
    again, is_new = await tasks.submit(context, parse_task(JOB | {"idempotencyKey": "key"}), HTTP)
    assert is_new and again.status is TaskStatus.PENDING


async def test_what_comes_by_sql_may_do_what_a_submitter_may(world: World) -> None:
    context = await world.leader()
    limited = Policy(limits={Role.SUBMITTER: Limits(priority=5), Role.ADMIN: Limits(priority=100)})
    context.policy = context.policy.replaced(limited, context.clock.now())
    await leave(context, "a", priority=6)
    await leave(context, "b", priority=5)
    await drain(InboxLoop(context))
    high, low = await found(context, "a", "b")
    assert (high.status, low.status) == (TaskStatus.FAILED, TaskStatus.PENDING)


async def test_a_key_that_another_door_has_used_makes_no_second_task(world: World) -> None:
    context = await world.leader()
    first, _ = await tasks.submit(context, parse_task(JOB | {"idempotencyKey": "key"}), HTTP)
    await leave(context, "same", idempotencyKey="key")
    await leave(context, "other", idempotencyKey="key", queue="mail")
    await drain(InboxLoop(context))
    same, other = await found(context, "same", "other")
    assert (same.status, same.dead_letter_reason) == (TaskStatus.CANCELLED, None)
    assert same.error == f"the same as task {first.task_id}, by its idempotency key 'key'"
    assert (other.status, other.error_code) == (TaskStatus.FAILED, "NOT_ADMITTED")
    assert "was used for another task" in (other.error or "")
    repeated, is_new = await tasks.submit(context, parse_task(JOB | {"idempotencyKey": "key"}), HTTP)
    assert (repeated.task_id, is_new) == (first.task_id, False)


async def test_a_key_holds_for_other_doors_too(world: World) -> None:
    context = await world.leader()
    await leave(context, "a", idempotencyKey="key")
    await drain(InboxLoop(context))
    task, is_new = await tasks.submit(context, parse_task(JOB | {"idempotencyKey": "key"}), HTTP)
    assert (task.task_id, is_new) == ("a", False)


async def test_a_cancel_stops_what_waits_what_runs_and_what_came_with_it(world: World) -> None:
    context = await world.leader()
    reader = InboxLoop(context)
    await leave(context, "waits")
    await leave(context, "runs")
    await drain(reader)
    await context.committer.apply_as_leader([Happening("runs", Assign(node_id="node-1"))])
    for task_id in ("waits", "runs", "nobody"):
        await leave(context, task_id, CANCEL)
    await leave(context, "together")
    await leave(context, "together", CANCEL)
    await drain(reader)
    waits, runs, together = await found(context, "waits", "runs", "together")
    assert (waits.status, together.status) == (TaskStatus.CANCELLED, TaskStatus.CANCELLED)
    assert (runs.status, runs.stop_reason) == (TaskStatus.SCHEDULED, "cancel")
    (told,) = await context.store.find_events(["runs"], "cancel_requested")
    assert told.actor.startswith("sql:")
    assert await waiting(context) == []


async def test_order_is_kept_over_many_pages(world: World) -> None:
    context = await world.leader()
    ids = [f"task-{number:03}" for number in range(25)]
    for task_id in ids:
        await leave(context, task_id)
    await drain(InboxLoop(context, page=4))
    assert [task.task_id for task in await context.store.ready_page(100)] == ids


async def test_what_was_committed_late_under_a_lower_id_is_found(world: World, monkeypatch: Any) -> None:
    """A reader that goes on from where it was begins anew now and then, and at the end."""
    monkeypatch.setattr(loop, "MOST_PAGES", 3)
    context = await world.leader()
    for number in range(40):
        await leave(context, f"task-{number:02}")
    late = await hide(context, "task-00")
    reader = InboxLoop(context, page=4)
    await reader.run_once()
    await late()
    for _ in range(4):
        await reader.run_once()
    assert "task-00" not in await waiting(context)


async def hide(context: MasterContext, task_id: str) -> Callable[[], Awaitable[None]]:
    """Have the inbox without the task's item, as a reader sees it before its transaction ends."""
    real = context.store.inbox.page
    seen = False

    async def page(*arguments: Any) -> Any:
        return [item for item in await real(*arguments) if seen or item.task_id != task_id]

    async def show() -> None:
        nonlocal seen
        seen = True

    context.store.inbox.page = page  # type: ignore[method-assign]
    return show


async def test_a_store_that_goes_away_in_the_middle_loses_and_doubles_nothing(world: World) -> None:
    context = await world.leader()
    ids = [f"task-{number}" for number in range(6)]
    for task_id in ids:
        await leave(context, task_id)
    await leave(context, ids[0], CANCEL)
    reader = InboxLoop(context)
    real, lost = context.store.inbox.remove, []

    async def away(inbox_ids: Any) -> None:
        if not lost:
            lost.append(inbox_ids)
            raise StoreUnavailable("away")
        await real(inbox_ids)

    context.store.inbox.remove = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await drain(reader)
    assert await waiting(context) == [ids[0]]
    await drain(reader)
    statuses = [task.status for task in await found(context, *ids)]
    assert statuses == [TaskStatus.CANCELLED] + [TaskStatus.PENDING] * 5


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_makes_every_task_once(world: World, when: str) -> None:
    faulty = Faulty(world.store)
    context = await world.leader(store=faulty)
    ids = [f"task-{number}" for number in range(4)]
    for task_id in ids:
        await leave(context, task_id)

    async def fail_once() -> None:
        getattr(faulty, when).clear()
        raise StoreUnavailable("the answer was lost")

    getattr(faulty, when)["commit"] = fail_once
    reader = InboxLoop(context)
    with pytest.raises(StoreUnavailable):
        await drain(reader)
    assert await waiting(context) == ([] if when == "after" else ids)
    await drain(reader)
    assert [task.task_id for task in await context.store.ready_page(10)] == ids
    assert await waiting(context) == []


async def test_two_leaders_at_once_make_each_task_once(world: World) -> None:
    """The first one does not know yet that it leads no more: both read the same items."""
    old = await world.leader()
    for number in range(8):
        await leave(old, f"task-{number}", **({"idempotencyKey": f"key-{number}"} if number % 2 else {}))
    new = world.context("two")
    new.lead(old.epoch)
    items = await old.store.inbox.page(0, 100, 10**9)
    await asyncio.gather(inbox.submit_all(old, items), inbox.submit_all(new, items))
    await inbox.submit_all(old, items)
    assert {task.status for task in await found(old, *(item.task_id for item in items))} == {
        TaskStatus.PENDING
    }
    assert len(await old.store.ready_page(100)) == 8 and await waiting(old) == []


async def test_a_master_that_hears_of_nothing_finds_it_by_itself(masters: Masters) -> None:
    master = await masters.start(poll_seconds=0.05)
    await leave(master.server.context, "a")
    await eventually(lambda: master.server.context.store.load_tasks(["a"]), "the task")


async def test_a_master_begins_to_read_as_soon_as_it_leads(masters: Masters) -> None:
    first = await masters.start(poll_seconds=30)
    second = await masters.start("machine-2", poll_seconds=30)
    await leave(second.server.context, "a")
    await first.stop_server()
    await eventually(lambda: second.server.context.store.load_tasks(["a"]), "the task")


async def test_who_depends_on_a_task_that_is_not_there_fails_and_says_so(world: World) -> None:
    context = await world.leader()
    await leave(context, "orphan", dependsOn=[{"taskId": "nobody"}], idempotencyKey="once")
    await leave(context, "parent")
    await leave(context, "child", dependsOn=[{"taskId": "parent"}])
    await drain(InboxLoop(context))
    orphan, child = await found(context, "orphan", "child")
    assert (orphan.status, orphan.error_code) == (TaskStatus.FAILED, "NOT_ADMITTED")
    assert orphan.error is not None
    assert "there is no task nobody" in orphan.error
    assert (child.status, child.waits_for_parents) == (TaskStatus.PENDING, True)
    assert await waiting(context) == []
