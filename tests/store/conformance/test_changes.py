"""The feed of what masters committed, and the snapshot that a view starts from."""

from collections.abc import Mapping
from dataclasses import replace

from podling.core.lifecycle import Cancel
from podling.core.node import NodeChange, NodeChangeKind
from podling.core.task import TaskStatus
from podling.store.base import Change, ChangeBatch, Store, TaskWrite
from tests.builders import (
    NOW,
    assignment,
    build_batch,
    build_node,
    build_task,
    ended,
    happening,
    insertion,
)


async def told(store: Store, cursors: Mapping[str, int] | None = None, limit: int = 100) -> list[ChangeBatch]:
    """Return the batches of the feed that hold changes."""
    return [batch for batch in await store.changes_after(cursors or {}, limit) if batch.changes]


async def test_a_new_store_has_nothing_to_tell(store: Store) -> None:
    assert await told(store) == []
    snapshot = await store.snapshot()
    assert (snapshot.nodes, snapshot.live_tasks, dict(snapshot.cursors)) == ((), (), {})


async def test_every_applied_write_is_told_in_its_batch(store: Store) -> None:
    first, second = build_task(), build_task()
    await store.commit(build_batch([insertion(first), insertion(second)], number=1))
    assigned = assignment(first, "node-7")
    await store.commit(build_batch([assigned, happening(second, Cancel())], number=2))
    batches = await told(store)
    assert [(batch.master_id, batch.number) for batch in batches] == [("master-1", 1), ("master-1", 2)]
    assert batches[0].changes == tuple(
        Change(task_id=task.task_id, version=1, status=TaskStatus.PENDING, attempt=0, node_id=None)
        for task in (first, second)
    )
    assert batches[1].changes == (
        Change(task_id=first.task_id, version=2, status=TaskStatus.SCHEDULED, attempt=1, node_id="node-7"),
        Change(task_id=second.task_id, version=2, status=TaskStatus.CANCELLED, attempt=0, node_id=None),
    )


async def test_a_new_task_with_a_node_is_told_as_both(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    given, plain = build_task(), build_task()
    write = replace(assignment(given, "node-7"), expected_version=None)
    await store.commit(build_batch([write, insertion(plain)], number=1, epoch=epoch))
    [batch] = await told(store)
    pending, scheduled = TaskStatus.PENDING, TaskStatus.SCHEDULED
    assert batch.changes == (
        Change(given.task_id, 1, pending, 0, None),
        Change(given.task_id, 2, scheduled, 1, "node-7", pending),
        Change(plain.task_id, 1, pending, 0, None),
    )


async def test_refused_writes_and_repeats_are_not_told(store: Store) -> None:
    task, again = build_task(idempotency_key="k"), build_task(idempotency_key="k")
    lost = TaskWrite(task=build_task(), expected_version=1)
    batch = build_batch([lost, insertion(task), insertion(again)], number=1)
    await store.commit(batch)
    await store.commit(batch)
    await store.commit(build_batch([lost], number=2))
    assert [(item.number, [change.task_id for change in item.changes]) for item in await told(store)] == [
        (1, [task.task_id])
    ]


async def test_each_master_is_read_from_its_own_cursor(store: Store) -> None:
    for master_id in ("m1", "m2", "m3"):
        for number in range(1, 4):
            await store.commit(build_batch([insertion(build_task())], master_id=master_id, number=number))
    batches = await told(store, {"m1": 3, "m2": 1, "unknown": 9})
    by_master = {name: [b.number for b in batches if b.master_id == name] for name in ("m1", "m2", "m3")}
    assert by_master == {"m1": [], "m2": [2, 3], "m3": [1, 2, 3]}


async def test_a_reader_with_a_limit_gets_everything_once_and_in_order(store: Store) -> None:
    expected = {"m1": list(range(1, 8)), "m2": list(range(1, 5))}
    for master_id, numbers in expected.items():
        for number in numbers:
            await store.commit(build_batch([insertion(build_task())], master_id=master_id, number=number))
    cursors: dict[str, int] = {}
    seen: dict[str, list[int]] = {"m1": [], "m2": []}
    while batches := await store.changes_after(cursors, 3):
        assert len(batches) <= 3
        for batch in batches:
            seen[batch.master_id].append(batch.number)
            cursors[batch.master_id] = batch.number
    assert seen == expected


async def test_gaps_in_the_numbers_do_not_matter(store: Store) -> None:
    for number in (5, 9, 1000):
        await store.commit(build_batch([insertion(build_task())], number=number))
    assert [batch.number for batch in await told(store, {"master-1": 5})] == [9, 1000]


async def test_the_snapshot_holds_nodes_live_tasks_and_the_place_in_the_feed(store: Store) -> None:
    node = build_node()
    number = await store.open_session(node)
    waiting, live, running, gone = (build_task() for _ in range(4))
    await store.commit(build_batch(map(insertion, (waiting, live, running, gone)), master_id="m1", number=4))
    assigned = [assignment(task) for task in (live, running, gone)]
    await store.commit(build_batch(assigned, master_id="m2", number=7))
    done = happening(assigned[2].task, ended(assigned[2].task))
    await store.commit(build_batch([done], master_id="m2", number=8))
    snapshot = await store.snapshot()
    assert [(item.node_id, item.session_no) for item in snapshot.nodes] == [(node.node_id, number)]
    assert {task.task_id: task for task in snapshot.live_tasks} == {
        write.task.task_id: write.task for write in assigned[:2]
    }
    assert dict(snapshot.cursors) == {"m1": 4, "m2": 8}
    assert await told(store, snapshot.cursors) == []
    cancelled = happening(waiting, Cancel())
    await store.commit(build_batch([cancelled], master_id="m1", number=5))
    assert [batch.number for batch in await told(store, snapshot.cursors)] == [5]


async def test_changes_of_one_task_come_in_order_whoever_made_them(store: Store) -> None:
    task = build_task()
    await store.commit(build_batch([insertion(task)], master_id="m9", number=1))
    assigned = assignment(task)
    await store.commit(build_batch([assigned], master_id="m1", number=1))
    done = happening(assigned.task, ended(assigned.task))
    await store.commit(build_batch([done], master_id="m5", number=1))
    seen: list[tuple[str, int]] = []
    cursors: dict[str, int] = {}
    while batches := await store.changes_after(cursors, 1):
        seen += [(batch.master_id, change.version) for batch in batches for change in batch.changes]
        cursors |= {batch.master_id: batch.number for batch in batches}
    assert seen == [("m9", 1), ("m1", 2), ("m5", 3)]


async def test_what_nodes_became_and_what_tasks_were_is_told(store: Store) -> None:
    task = build_task()
    change = NodeChange(node_id="node-7", kind=NodeChangeKind.LOST, reason="it fell silent")
    await store.commit(build_batch([insertion(task)], number=1))
    write = replace(assignment(task), before=task.status)
    await store.commit(build_batch([write], number=2, nodes=(change,)))
    _, batch = await store.changes_after({}, 10)
    assert batch.nodes == (change,)
    assert [item.before for item in batch.changes] == [TaskStatus.PENDING]
    assert batch.at == NOW


async def test_it_is_known_what_can_still_be_read(store: Store) -> None:
    assert await store.changes_kept() == {}
    for master_id, numbers in {"m1": (4, 5, 6), "m2": (1,)}.items():
        for number in numbers:
            await store.commit(build_batch([insertion(build_task())], master_id=master_id, number=number))
    assert dict(await store.changes_kept()) == {"m1": (4, 6), "m2": (1, 1)}
