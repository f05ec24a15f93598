"""What a doctor is told: who waits for how long, and what has failed."""

from dataclasses import replace

from podling.core.facts import LATELY, WaitingTasks
from podling.core.node import NodeStatus
from podling.store.base import Store, TaskWrite
from tests.builders import (
    NOW,
    assignment,
    at,
    build_batch,
    build_master,
    build_node,
    build_task,
    ended,
    happening,
    insertion,
)


async def test_an_empty_store_has_nothing_to_tell(store: Store) -> None:
    facts = await store.diagnose(NOW)
    assert (facts.kind, facts.ready, facts.blocked, facts.failed_lately) == (store.kind, None, {}, 0)


async def test_the_ready_task_that_waits_longest_is_told(store: Store) -> None:
    urgent = build_task(priority=9, run_at=at(-10))
    old = build_task(run_at=at(-500))
    later = build_task(run_at=at(500))
    taken = build_task(run_at=at(-900))
    await store.commit(build_batch(map(insertion, (urgent, old, later, taken))))
    await store.commit(build_batch([assignment(taken)]))
    expected = WaitingTasks(tasks=2, task_id=old.task_id, since=at(-500))
    assert (await store.diagnose(NOW)).ready == expected


async def test_blocked_shapes_are_told_the_oldest_first(store: Store) -> None:
    await store.register_master(build_master())
    epoch = await store.take_leadership("master-1", await store.leadership())
    assert epoch is not None
    small = [build_task(shape="small", run_at=at(-number)) for number in (10, 30)]
    large = build_task(shape="large", run_at=at(-20))
    await store.commit(build_batch(map(insertion, [*small, large])))
    await store.block([task.task_id for task in [*small, large]], epoch)
    facts = await store.diagnose(NOW)
    assert facts.ready is None
    assert list(facts.blocked.items()) == [
        ("small", WaitingTasks(tasks=2, task_id=small[1].task_id, since=at(-30))),
        ("large", WaitingTasks(tasks=1, task_id=large.task_id, since=at(-20))),
    ]


async def test_failures_of_the_last_day_are_counted(store: Store) -> None:
    for created_at in (NOW, NOW - LATELY * 2):
        task = build_task(created_at=created_at)
        await store.commit(build_batch([insertion(task)]))
        assigned = assignment(task)
        await store.commit(build_batch([assigned]))
        failed = ended(assigned.task, exit_code=1, error_code="EXIT_CODE")
        await store.commit(build_batch([happening(assigned.task, failed)]))
    assert (await store.diagnose(NOW)).failed_lately == 1


async def test_the_oldest_of_every_priority_is_looked_at(store: Store) -> None:
    tasks = [build_task(priority=number % 3, run_at=at(-number)) for number in range(1, 10)]
    await store.commit(build_batch(map(insertion, tasks)))
    found = (await store.diagnose(NOW)).ready
    assert found == WaitingTasks(tasks=9, task_id=tasks[-1].task_id, since=at(-9))


async def test_only_tasks_that_may_be_stuck_are_suspects(store: Store) -> None:
    for node_id in ("here", "offline"):
        await store.open_session(build_node(node_id))
    away = await store.load_node("offline")
    assert away is not None
    await store.save_node(replace(away, status=NodeStatus.OFFLINE))
    nodes = ["here", "here", "here", "offline", "gone"]
    tasks = [build_task(created_at=at(number)) for number in range(len(nodes))]
    await store.commit(build_batch(map(insertion, [*tasks, build_task()])))
    assigned = [assignment(task, node_id=node_id).task for task, node_id in zip(tasks, nodes, strict=True)]
    assigned[0] = replace(assigned[0], scheduled_at=at(-100))
    assigned[1] = replace(assigned[1], held="its node is lost")
    writes = [TaskWrite(task=task, expected_version=1) for task in assigned]
    await store.commit(build_batch(writes))
    expected = [tasks[number].task_id for number in (0, 1, 3, 4)]
    assert [task.task_id for task in await store.suspects(at(-50), 10)] == expected
    assert [task.task_id for task in await store.suspects(at(-50), 2)] == expected[:2]
