"""Idempotency keys and repeated batches: what was done once is answered, not done again."""

import pytest

from podling.core.errors import StaleEpoch
from podling.core.lifecycle import Cancel
from podling.core.task import TaskEvent
from podling.store.base import Batch, Store, TaskWrite
from tests.builders import NOW, assignment, build_batch, build_task, happening, insertion, renumbered
from tests.store.conformance.committing import APPLIED, CONFLICT, DUPLICATE, commit, stored


async def test_a_used_key_answers_with_its_task(store: Store) -> None:
    first = build_task(idempotency_key="key")
    await commit(store, insertion(first, "hash"))
    again, misuse = build_task(idempotency_key="key"), build_task(idempotency_key="key")
    result = await store.commit(build_batch([insertion(again, "hash"), insertion(misuse, "other")]))
    assert [(item.task_id, item.status) for item in result] == [(first.task_id, DUPLICATE)] * 2
    assert [item.same_body for item in result] == [True, False]
    assert await store.load_tasks([again.task_id, misuse.task_id]) == {}


async def test_equal_keys_of_one_batch_are_joined(store: Store) -> None:
    first, again, misuse, free = (build_task(idempotency_key=key) for key in ("key", "key", "key", "free"))
    batch = build_batch(
        [insertion(first, "h"), insertion(again, "h"), insertion(misuse, "other"), insertion(free, "h")]
    )
    result = await store.commit(batch)
    assert [item.status for item in result] == [APPLIED, DUPLICATE, DUPLICATE, APPLIED]
    assert [item.task_id for item in result[:3]] == [first.task_id] * 3
    assert [item.same_body for item in result] == [True, True, False, True]
    found = await store.load_tasks([first.task_id, again.task_id, misuse.task_id, free.task_id])
    assert set(found) == {first.task_id, free.task_id}


async def test_equal_keys_are_joined_in_the_batch_order_whatever_their_ids(store: Store) -> None:
    later = build_task(task_id="z", idempotency_key="key")
    earlier = build_task(task_id="a", idempotency_key="key")
    result = await store.commit(build_batch([insertion(later, "h"), insertion(earlier, "h")]))
    assert [(item.task_id, item.status) for item in result] == [("z", APPLIED), ("z", DUPLICATE)]


async def test_a_key_stays_taken_when_its_task_has_ended(store: Store) -> None:
    first = build_task(idempotency_key="key")
    await commit(store, insertion(first, "hash"))
    await commit(store, happening(first, Cancel()))
    [result] = await store.commit(build_batch([insertion(build_task(idempotency_key="key"), "hash")]))
    assert (result.task_id, result.status, result.same_body) == (first.task_id, DUPLICATE, True)


async def test_a_refused_insert_claims_no_key(store: Store) -> None:
    taken = build_task()
    await commit(store, insertion(taken))
    refused = build_task(task_id=taken.task_id, idempotency_key="key")
    assert await commit(store, insertion(refused, "hash")) == [CONFLICT]
    assert await commit(store, insertion(build_task(idempotency_key="key"), "hash")) == [APPLIED]


async def test_keys_are_compared_exactly(store: Store) -> None:
    keys = ["key", "KEY", "key ", "ké", "%", "_"]
    tasks = [build_task(idempotency_key=key) for key in keys]
    assert await commit(store, *(insertion(task, "h") for task in tasks)) == [APPLIED] * len(keys)


async def test_an_update_claims_no_key_again(store: Store) -> None:
    task = build_task(idempotency_key="key")
    await commit(store, insertion(task, "hash"))
    assert await commit(store, assignment(task)) == [APPLIED]


async def test_a_repeated_batch_changes_nothing_and_gets_its_first_answer(store: Store) -> None:
    task, keyed = build_task(), build_task(idempotency_key="key")
    stale = TaskWrite(task=build_task(), expected_version=1)
    again = build_task(idempotency_key="key")
    line = TaskEvent(task_id=task.task_id, at=NOW, type="note", actor="client", message="once")
    writes = [
        stale,
        TaskWrite(task=task, events=(line,)),
        insertion(keyed, "h"),
        insertion(again, "other"),
    ]
    batch = build_batch(writes)
    first = await store.commit(batch)
    assert [item.status for item in first] == [CONFLICT, APPLIED, APPLIED, DUPLICATE]
    assert list(await store.commit(batch)) == list(first)
    assert len(await store.load_events(task.task_id)) == 1
    assert await stored(store, task) == task


async def test_a_repeat_is_answered_even_if_the_task_has_moved_on(store: Store) -> None:
    task = build_task()
    batch = build_batch([insertion(task)])
    await store.commit(batch)
    moved = assignment(task)
    await commit(store, moved)
    assert [item.status for item in await store.commit(batch)] == [APPLIED]
    assert await stored(store, task) == moved.task


async def test_a_repeat_is_answered_even_if_its_epoch_has_passed(store: Store) -> None:
    epoch = await store.take_leadership("m1", await store.leadership())
    batch = build_batch([insertion(build_task())], epoch=epoch)
    first = await store.commit(batch)
    await store.take_leadership("m2", await store.leadership())
    assert list(await store.commit(batch)) == list(first)
    with pytest.raises(StaleEpoch):
        await store.commit(renumbered(batch))


async def test_the_same_number_of_another_master_is_another_batch(store: Store) -> None:
    tasks = [build_task(), build_task()]
    for master_id, task in zip(("m1", "m2"), tasks, strict=True):
        batch = Batch(master_id=master_id, number=1, now=NOW, tasks=(insertion(task),))
        assert [item.status for item in await store.commit(batch)] == [APPLIED]
    assert len(await store.load_tasks([task.task_id for task in tasks])) == 2
