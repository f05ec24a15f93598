"""Lines: who waits in them is out of the ready order until it is recalled or written."""

import pytest

from podling.core.errors import StaleEpoch
from podling.core.lifecycle import Cancel
from podling.core.task import Task
from podling.store.base import PendingCounts, Store, TaskWrite
from podling.store.ports.lines import Depths, Start
from tests.builders import NOW, assignment, at, build_batch, build_task, happening, insertion


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("leader", await store.leadership())
    assert epoch is not None
    return epoch


async def submit(store: Store, *tasks: Task) -> None:
    await store.commit(build_batch(map(insertion, tasks)))


async def ready(store: Store) -> list[str]:
    return [task.task_id for task in await store.ready_page(100)]


async def heads(store: Store, **rooms: int) -> list[str]:
    return [task.task_id for task in await store.lines.heads(rooms)]


async def test_who_is_set_aside_waits_in_claim_order(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number}", priority=number % 2) for number in range(4)]
    await submit(store, *tasks)
    await store.lines.set_aside({"t0": "a", "t1": "a", "t3": "a", "nobody": "a"}, await lead(store))
    assert await ready(store) == ["t2"]
    assert await heads(store, a=9, b=9) == ["t1", "t3", "t0"]
    assert await heads(store, a=1) == ["t1"]
    assert await store.count_pending(10) == PendingCounts(ready=1, lined=3)
    assert list(await store.blocked_shapes()) == []
    assert await store.lines.place("t0", 100) == ("a", 2)
    assert await store.lines.place("t0", 1) == ("a", 1)
    assert await store.lines.place("t2", 100) is None


async def test_who_is_due_is_counted_by_queue_up_to_a_bound_of_each_kind(store: Store) -> None:
    kinds = ["ready"] * 3 + ["blocked"] * 2 + ["lined"] * 2
    tasks = [build_task(task_id=f"{kind}-{number}", queue=kind) for number, kind in enumerate(kinds)]
    await submit(store, *tasks, build_task(queue="later", run_at=at(60)), build_task(queue="lined"))
    epoch = await lead(store)
    await store.block(["blocked-3", "blocked-4"], epoch)
    await store.lines.set_aside({"lined-5": "a", "lined-6": "b"}, epoch)
    assert await store.lines.depths(10) == Depths(queues={"ready": 3, "blocked": 2, "lined": 3})
    found = await store.lines.depths(2)
    assert (sum(found.queues.values()), found.whole) == (6, False)
    await store.commit(build_batch(happening(task, Cancel()) for task in tasks))
    assert await store.lines.depths(10) == Depths(queues={"lined": 1})


async def test_the_first_of_a_line_are_recalled(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number}") for number in range(3)]
    await submit(store, *tasks)
    epoch = await lead(store)
    await store.lines.set_aside({task.task_id: "a" for task in tasks}, epoch)
    assert (await store.lines.recall({"a": 2}, epoch))["a"] == 2
    assert await ready(store) == ["t0", "t1"]
    found = await store.lines.recall({"a": 2, "b": 1}, epoch)
    assert {line: count for line, count in found.items() if count} == {"a": 1}
    assert list(await store.ready_page(10)) == tasks


async def test_a_task_can_be_born_into_a_line_and_change_it(store: Store) -> None:
    task, later = build_task(task_id="t0"), build_task(task_id="t1", run_at=at(60))
    writes = [TaskWrite(task=each, line="a") for each in (task, later)]
    await store.commit(build_batch(writes))
    assert await heads(store, a=9) == ["t0"]
    epoch = await lead(store)
    await store.lines.set_aside({"t0": "~k"}, epoch)
    assert await store.lines.firsts("", 10) == {"~k": task}
    await store.block(["t0"], epoch)
    assert (await store.lines.firsts("", 10), list(await store.blocked_shapes())) == ({}, [task])


async def test_a_write_takes_a_task_out_of_its_line(store: Store) -> None:
    tasks = [build_task(task_id=f"t{number}") for number in range(3)]
    await submit(store, *tasks)
    epoch = await lead(store)
    await store.lines.set_aside({task.task_id: "a" for task in tasks}, epoch)
    await store.commit(build_batch([assignment(tasks[0]), happening(tasks[1], Cancel())]))
    assert await heads(store, a=9) == ["t2"]
    await store.lines.set_aside({"t0": "a"}, epoch)  # it is not pending any more
    assert await heads(store, a=9) == ["t2"]


async def test_lines_are_walked_in_the_order_of_their_names(store: Store) -> None:
    tasks = {line: build_task(task_id=f"t{line}") for line in ("b/1", "b/10", "B", "~x", "a")}
    await submit(store, *tasks.values(), build_task(task_id="u", priority=-1))
    epoch = await lead(store)
    lines = {task.task_id: line for line, task in tasks.items()}
    await store.lines.set_aside(lines | {"u": "b/1"}, epoch)
    assert list(await store.lines.firsts("", 3)) == ["B", "a", "b/1"]
    assert await store.lines.firsts("b/1", 3) == {"b/10": tasks["b/10"], "~x": tasks["~x"]}
    assert await store.lines.firsts("~x", 3) == {}


async def test_a_stale_leader_moves_nobody(store: Store) -> None:
    task = build_task()
    await submit(store, task)
    stale = await lead(store)
    await store.resign_leadership("leader", stale)
    with pytest.raises(StaleEpoch):
        await store.lines.set_aside({task.task_id: "a"}, stale)
    epoch = await lead(store)
    await store.lines.set_aside({task.task_id: "a"}, epoch)
    with pytest.raises(StaleEpoch):
        await store.lines.recall({"a": 1}, stale)
    assert await heads(store, a=1) == [task.task_id]


async def test_starts_of_a_queue_are_found_also_of_what_has_ended(store: Store) -> None:
    mine, ended, other = (build_task(task_id=name, queue=queue) for name, queue in
                          (("mine", "etl"), ("ended", "etl"), ("other", "mail")))  # fmt: skip
    await submit(store, mine, ended, other, build_task(queue="etl"))
    begun = [assignment(task) for task in (mine, ended, other)]
    await store.commit(build_batch(begun))
    gone = happening(begun[1].task, Cancel())
    await store.commit(build_batch([gone]))
    found = await store.lines.starts(["etl"], 1e9)
    assert sorted(found, key=lambda start: start.task_id) == [
        Start(queue="etl", task_id=name, attempt=1, at=NOW) for name in ("ended", "mine")
    ]
    assert list(await store.lines.starts(["nothing"], 1e9)) == []
