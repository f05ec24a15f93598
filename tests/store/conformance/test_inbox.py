"""What waits to be taken in, and leaves with the commit that makes it a task."""

from dataclasses import replace

import pytest

from podling.core.facts import InboxDepth
from podling.core.lifecycle import Deny
from podling.core.task import TaskStatus
from podling.store.base import Store, TaskWrite, WriteStatus
from podling.store.ports.dead_letters import DeadLetterQuery
from podling.store.ports.inbox import InboxItem, InboxKind
from tests.builders import build_task, happening, insertion
from tests.store.conformance.committing import APPLIED, DUPLICATE, commit, stored

REFUSED = WriteStatus.REFUSED
BODY = '{"name": "job"}'


async def put(store: Store, *task_ids: str, kind: InboxKind = InboxKind.SUBMIT) -> list[int]:
    return [await store.inbox.put(kind, task_id, BODY) for task_id in task_ids]


async def page(store: Store, after: int = 0, limit: int = 10, most_bytes: int = 1000) -> list[InboxItem]:
    return list(await store.inbox.page(after, limit, most_bytes))


async def waiting(store: Store) -> list[str]:
    return [item.task_id for item in await page(store)]


async def test_it_tells_how_many_wait_and_for_how_long(store: Store) -> None:
    assert await store.inbox.depth(10) == InboxDepth()
    ids = await put(store, "a", "b", "c")
    found = await store.inbox.depth(10)
    assert found.items == 3
    assert found.oldest_seconds is not None and 0 <= found.oldest_seconds < 60
    assert (await store.inbox.depth(2)).items == 2
    await store.inbox.remove(ids)
    assert (await store.inbox.depth(10)).items == 3  # submits stay until they are tasks


def from_inbox(inbox_id: int, task_id: str, body_hash: str | None = None, **spec: object) -> TaskWrite:
    return replace(insertion(build_task(task_id=task_id, **spec), body_hash), inbox_id=inbox_id)


async def test_what_is_left_there_is_read_in_order_and_as_it_came(store: Store) -> None:
    ids = await put(store, "a", "b", "c")
    found = await page(store)
    assert [item.inbox_id for item in found] == sorted(ids) == ids
    assert [(item.kind, item.task_id, item.body) for item in found] == [
        (InboxKind.SUBMIT, task_id, BODY) for task_id in "abc"
    ]
    assert all(item.sender and item.received_at.tzinfo is not None for item in found)
    assert [item.task_id for item in await page(store, after=ids[0], limit=1)] == ["b"]


async def test_a_page_is_cut_by_its_bytes_but_has_the_first_item_in_any_case(store: Store) -> None:
    await put(store, "a", "b", "c")
    assert [item.task_id for item in await page(store, most_bytes=1)] == ["a"]
    assert [item.task_id for item in await page(store, most_bytes=len(BODY) + 1)] == ["a", "b"]


async def test_the_commit_that_makes_a_task_takes_its_item_out_and_no_second_one_does(store: Store) -> None:
    one, two = await put(store, "a", "b")
    assert await commit(store, from_inbox(one, "a")) == [APPLIED]
    assert await waiting(store) == ["b"]
    answers = await commit(store, from_inbox(one, "a"), from_inbox(two, "b"))
    assert answers == [REFUSED, APPLIED]
    assert await waiting(store) == []
    assert await stored(store, build_task(task_id="b")) is not None


async def test_a_task_whose_item_has_gone_is_not_made_and_keeps_no_key(store: Store) -> None:
    (gone,) = await put(store, "a")
    await commit(store, from_inbox(gone, "a"))
    late = from_inbox(gone, "late", "hash", idempotency_key="key")
    assert await commit(store, late) == [REFUSED]
    assert await stored(store, late.task) is None
    assert await commit(store, insertion(build_task(task_id="b", idempotency_key="key"), "hash")) == [APPLIED]


async def test_an_item_whose_key_is_taken_stays_until_it_is_decided_what_becomes_of_it(store: Store) -> None:
    await commit(store, insertion(build_task(task_id="first", idempotency_key="key"), "hash"))
    (inbox_id,) = await put(store, "second")
    second = from_inbox(inbox_id, "second", "hash", idempotency_key="key")
    assert await commit(store, second) == [DUPLICATE]
    assert await waiting(store) == ["second"]


async def test_a_task_that_is_denied_is_made_failed_and_is_a_dead_letter(store: Store) -> None:
    (inbox_id,) = await put(store, "a")
    task = build_task(task_id="a")
    denied = happening(task, Deny(reason="no image")).task
    assert await commit(store, TaskWrite(task=denied, inbox_id=inbox_id)) == [APPLIED]
    found = await stored(store, task)
    assert found is not None and found.status is TaskStatus.FAILED
    (letter,) = await store.dead_letters.find(DeadLetterQuery())
    assert (letter.task_id, letter.reason, letter.error_code) == ("a", "NOT_ADMITTED", "NOT_ADMITTED")
    assert await waiting(store) == []


@pytest.mark.parametrize("kind", [InboxKind.CANCEL, InboxKind.END])
async def test_what_speaks_of_a_task_stays_as_long_as_that_waits_to_be_submitted(
    store: Store, kind: InboxKind
) -> None:
    (submit,) = await put(store, "a")
    ids = await put(store, "a", "b", kind=kind)
    await store.inbox.remove(ids)
    assert await waiting(store) == ["a", "a"]
    await commit(store, from_inbox(submit, "a"))
    await store.inbox.remove(ids)
    assert await waiting(store) == []
