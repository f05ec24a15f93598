"""Recorded refusals: counted together, found, and kept within bounds."""

from collections.abc import Sequence
from typing import Any

from podling.core.decision import Decision, by_rule, joined, not_kept, refusal
from podling.core.errors import PolicyDenied
from podling.store.base import Store
from podling.store.ports.decisions import DecisionQuery
from podling.store.ports.maintained import Forgotten
from tests.builders import at


def decision(seconds: float = 0, message: str = "image: no", **fields: Any) -> Decision:
    error = PolicyDenied(message, details={"rule": "images.allow", "field": "image"})
    return refusal(error, at(seconds), **({"actor": "ann", "door": "submit"} | fields))


async def found(store: Store, **query: Any) -> Sequence[Decision]:
    return list(await store.decisions.find(DecisionQuery(**query)))


async def test_nothing_is_found_where_nothing_was_recorded(store: Store) -> None:
    await store.decisions.record([])
    assert await found(store) == []


async def test_a_decision_is_read_as_it_was_recorded_newest_first(store: Store) -> None:
    kept = [decision(2, actor="eve", task_id="t1", door=None), decision(1, actor="bob"), decision(0)]
    await store.decisions.record(kept[::-1])
    assert await found(store) == kept


async def test_the_same_again_is_one_record_that_counts(store: Store) -> None:
    first, second, third = decision(0), decision(5), decision(9)
    await store.decisions.record([second, first])
    await store.decisions.record([third])
    (only,) = await found(store)
    assert (only.count, only.first_at, only.at) == (3, first.at, third.at)
    assert only == joined(joined(first, second), third)


async def test_the_last_words_are_kept_whatever_the_order(store: Store) -> None:
    late, early = by_rule(decision(5, "image: late")), by_rule(decision(0, "image: early"))
    await store.decisions.record([late])
    await store.decisions.record([early])
    (only,) = await found(store)
    assert (only.message, only.count, only.first_at) == ("image: late", 2, early.at)


async def test_another_actor_rule_door_task_or_hour_is_another_record(store: Store) -> None:
    other = PolicyDenied("image: no", details={"rule": "images.deny", "field": "image"})
    records = [
        decision(),
        decision(actor="bob"),
        decision(door="batch"),
        decision(task_id="t1"),
        decision(3600),
        refusal(other, at(0), actor="ann", door="submit"),
        not_kept(7, at(0)),
    ]
    await store.decisions.record(records)
    assert sorted(one.decision_id for one in await found(store)) == sorted(one.decision_id for one in records)


async def test_filters_are_joined(store: Store) -> None:
    mine, door = decision(1, task_id="t1", door=None), decision(2, task_id="t1")
    lost = not_kept(3, at(3))
    await store.decisions.record([mine, door, lost, decision(4)])
    assert await found(store, task_id="t1") == [door, mine]
    assert await found(store, task_id="t1", at_door=True) == [door]
    assert await found(store, code=lost.code) == [lost]
    assert await found(store, code=lost.code, task_id="t1") == []


async def test_pages_follow_each_other(store: Store) -> None:
    records = [decision(number // 2, actor=f"a{number}") for number in range(7)]
    await store.decisions.record(records)
    seen: list[Decision] = []
    after = None
    while page := await found(store, limit=3, after=after):
        seen += page
        after = (page[-1].at, page[-1].decision_id)
    assert seen == sorted(records, key=lambda one: (one.at, one.decision_id), reverse=True)


async def test_old_ones_go_and_the_oldest_beyond_the_bound(store: Store) -> None:
    records = [decision(number, actor=f"a{number}") for number in range(10)]
    await store.decisions.record(records)
    assert await store.decisions.prune(at(3), 100) == Forgotten(removed=3, is_complete=True)
    assert await store.decisions.prune(at(3), 4) == Forgotten(removed=3, is_complete=True)
    assert await found(store) == records[:5:-1]
    assert await store.decisions.prune(at(0), 4) == Forgotten(removed=0, is_complete=True)


async def test_words_that_no_database_keeps_harm_nothing(store: Store) -> None:
    await store.decisions.record([decision(message="image: a\0" + "x" * 10_000, actor="\u202e")])
    (only,) = await found(store)
    assert len(only.message) == 500
