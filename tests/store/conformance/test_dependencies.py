"""Dependencies: what a task waits for is kept with it, and forgotten when it waits no more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from podling.core.errors import StaleEpoch
from podling.core.graph import Links, ParentEnd
from podling.core.lifecycle import Assign, Cancel, ParentsMet, ParentUnmet
from podling.core.spec import When
from podling.core.task import Task
from podling.store.base import Store, WriteResult, WriteStatus
from tests.builders import (
    assignment,
    at,
    build_batch,
    build_dependent,
    build_task,
    ended,
    happening,
    insertion,
    renumbered,
)
from tests.store.conformance.committing import APPLIED, commit, stored

NO_PARENT = WriteStatus.NO_PARENT


async def lead(store: Store) -> int:
    epoch = await store.take_leadership("leader", await store.leadership())
    assert epoch is not None
    return epoch


async def end(store: Store, task: Task, **fields: object) -> None:
    live = assignment(task)
    await commit(store, live)
    await commit(store, happening(live.task, ended(live.task, **fields)))


async def standing(store: Store, child: Task) -> dict[ParentEnd | None, int]:
    found = await store.dependencies.links([child.task_id])
    return {link.end: link.count for link in found.get(child.task_id, ())}


async def test_a_dependent_is_in_no_ready_order_and_no_promotion_makes_it_so(store: Store) -> None:
    parent = build_task()
    child = build_dependent(parent.task_id)
    assert await commit(store, insertion(parent), insertion(child)) == [APPLIED, APPLIED]
    assert await store.promote(at(1e9), 100) == 0
    assert list(await store.ready_page(10)) == [parent]
    assert await stored(store, child) == child
    assert (await store.count_pending(10)).later == 1


async def test_an_end_is_noted_for_the_children_and_once(store: Store) -> None:
    parents = [build_task(task_id=f"p{number}") for number in range(3)]
    child = build_dependent("p0", "p1", "p2")
    await commit(store, *map(insertion, [*parents, child]))
    epoch = await lead(store)
    await end(store, parents[0])
    await end(store, parents[1], exit_code=1)
    noted = await store.dependencies.note_ends(["p0", "p1", "p2", "nobody"], 100, epoch)
    assert list(noted) == [child.task_id] * 2
    assert await standing(store, child) == {ParentEnd.COMPLETED: 1, ParentEnd.FAILED: 1, None: 1}
    assert list(await store.dependencies.note_ends(["p0", "p1"], 100, epoch)) == []


async def test_no_more_children_are_noted_than_asked_for(store: Store) -> None:
    parent = build_task(task_id="p")
    children = [build_dependent("p", task_id=f"c{number}") for number in range(5)]
    await commit(store, *map(insertion, [parent, *children]))
    epoch = await lead(store)
    await end(store, parent)
    seen: set[str] = set()
    for expected in (2, 2, 1, 0):
        noted = await store.dependencies.note_ends(["p"], 2, epoch)
        assert len(noted) == expected
        seen |= set(noted)
    assert seen == {child.task_id for child in children}


async def test_a_parent_in_history_is_noted_with_the_submit(store: Store) -> None:
    done, cancelled = build_task(task_id="done"), build_task(task_id="cancelled")
    await commit(store, insertion(done), insertion(cancelled))
    await end(store, done)
    await commit(store, happening(cancelled, Cancel()))
    child = build_dependent("done", "cancelled", when=When.ALWAYS)
    assert await commit(store, insertion(child)) == [APPLIED]
    found = (await store.dependencies.links([child.task_id]))[child.task_id]
    assert sorted(found, key=lambda link: link.example) == [
        Links(when=When.ALWAYS, end=ParentEnd.CANCELLED, count=1, example="cancelled"),
        Links(when=When.ALWAYS, end=ParentEnd.COMPLETED, count=1, example="done"),
    ]


async def test_a_parent_that_is_not_there_refuses_the_task_alone_and_frees_its_key(store: Store) -> None:
    parent = build_task(task_id="p")
    orphan = build_dependent("p", "nobody", idempotency_key="key")
    batch = build_batch([insertion(parent), insertion(orphan, "hash"), insertion(build_task(task_id="q"))])
    results = list(await store.commit(batch))
    assert [result.status for result in results] == [APPLIED, NO_PARENT, APPLIED]
    assert results[1] == WriteResult(task_id="nobody", status=NO_PARENT)
    assert list(await store.commit(batch)) == results
    assert await stored(store, orphan) is None
    await commit(store, insertion(build_task(task_id="nobody")))
    assert [result.status for result in await store.commit(renumbered(batch))][1] == APPLIED


@pytest.mark.parametrize(
    "event", [Cancel(), ParentsMet(parents=1), ParentUnmet(reason="it cannot", parent_id="p")]
)
async def test_the_write_that_ends_the_wait_forgets_it(
    store: Store, event: Cancel | ParentsMet | ParentUnmet
) -> None:
    parent, child, other = build_task(task_id="p"), build_dependent("p"), build_dependent("p")
    await commit(store, *map(insertion, [parent, child, other]))
    assert await commit(store, happening(child, event)) == [APPLIED]
    assert await store.dependencies.links([child.task_id]) == {}
    assert list(await store.dependencies.waiting("", 10)) == [other.task_id]


async def test_a_refused_write_leaves_the_wait(store: Store) -> None:
    parent, child = build_task(task_id="p"), build_dependent("p")
    await commit(store, insertion(parent), insertion(child))
    stale = happening(child, ParentsMet(parents=1))
    await commit(store, happening(child, Cancel()))
    assert await commit(store, stale) == [WriteStatus.CONFLICT]
    waiting = build_dependent("p")
    await commit(store, insertion(waiting))
    conflicting = replace(happening(waiting, ParentsMet(parents=1)), expected_version=7)
    assert await commit(store, conflicting) == [WriteStatus.CONFLICT]
    assert list(await store.dependencies.waiting("", 10)) == [waiting.task_id]


async def test_who_is_let_go_is_ready_in_claim_order(store: Store) -> None:
    parent = build_task(task_id="p")
    child = build_dependent("p", priority=1)
    await commit(store, insertion(parent), insertion(child))
    let_go = happening(child, ParentsMet(parents=1))
    await commit(store, let_go)
    assert list(await store.ready_page(10)) == [let_go.task, parent]
    assert await commit(store, happening(let_go.task, Assign(node_id="node-1"))) == [APPLIED]


async def test_who_waits_is_walked_in_the_order_of_their_ids(store: Store) -> None:
    await commit(store, insertion(build_task(task_id="p")), insertion(build_task(task_id="q")))
    await commit(store, *(insertion(build_dependent("p", "q", task_id=f"c{n}")) for n in (3, 1, 2)))
    assert list(await store.dependencies.waiting("", 2)) == ["c1", "c2"]
    assert list(await store.dependencies.waiting("c2", 2)) == ["c3"]


async def test_all_ends_of_given_children_are_noted_also_of_parents_that_are_gone(store: Store) -> None:
    parents = [build_task(task_id=f"p{number}") for number in range(3)]
    child = build_dependent("p0", "p1", "p2")
    await commit(store, *map(insertion, [*parents, child]))
    epoch = await lead(store)
    await end(store, parents[0])
    assert await store.dependencies.note_ends_for([child.task_id, "nobody"], 100, epoch) == 1
    assert await standing(store, child) == {ParentEnd.COMPLETED: 1, None: 2}
    await end(store, parents[1])
    await store.maintain(keep_ended=timedelta(0))
    assert await store.dependencies.note_ends_for([child.task_id], 100, epoch) == 1
    assert await standing(store, child) == {ParentEnd.COMPLETED: 1, ParentEnd.GONE: 1, None: 1}


async def test_a_stale_leader_notes_nothing(store: Store) -> None:
    parent, child = build_task(task_id="p"), build_dependent("p")
    await commit(store, insertion(parent), insertion(child))
    epoch = await lead(store)
    await end(store, parent)
    await lead(store)
    with pytest.raises(StaleEpoch):
        await store.dependencies.note_ends(["p"], 100, epoch)
    with pytest.raises(StaleEpoch):
        await store.dependencies.note_ends_for([child.task_id], 100, epoch)
    assert await standing(store, child) == {None: 1}


async def test_parents_and_children_can_be_made_in_one_commit(store: Store) -> None:
    first = build_task(task_id="z-first")
    second = build_dependent("z-first", task_id="a-second")
    third = build_dependent("a-second", "z-first", task_id="m-third")
    assert await commit(store, *map(insertion, [third, second, first])) == [APPLIED] * 3
    assert list(await store.dependencies.waiting("", 10)) == ["a-second", "m-third"]
