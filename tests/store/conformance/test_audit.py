"""The audit: in order, in pages, not for ever."""

from datetime import datetime, timedelta
from typing import Any

from podling.core.audit import AuditEntry, Outcome
from podling.store.base import Store
from tests.builders import NOW


def entry(actor: str = "ada", at: datetime = NOW, **fields: Any) -> AuditEntry:
    known = {"method": "POST", "route": "/api/v1/tasks", "outcome": Outcome.DONE, "status": 201}
    return AuditEntry(at=at, actor=actor, **(known | fields))


async def test_an_entry_is_read_as_it_was_written(store: Store) -> None:
    full = entry(
        at=NOW + timedelta(microseconds=1),
        token_id="t-1",
        address="::1",
        ids={"id": "ü\u2028", "taskId": "x"},
        code="conflict",
        outcome=Outcome.FAILED,
    )
    await store.audit.add([])
    await store.audit.add([full, entry(status=None, outcome=Outcome.UNKNOWN)])
    newest, first = await store.audit.page(10)
    assert first.entry == full and newest.entry.outcome is Outcome.UNKNOWN


async def test_pages_go_back_in_time(store: Store) -> None:
    await store.audit.add([entry(f"number {number}") for number in range(5)])
    first = await store.audit.page(2)
    second = await store.audit.page(2, first[-1].number)
    third = await store.audit.page(2, second[-1].number)
    names = [row.entry.actor for row in (*first, *second, *third)]
    assert names == [f"number {number}" for number in (4, 3, 2, 1, 0)]


async def test_what_is_old_is_forgotten(store: Store) -> None:
    await store.audit.add([entry("old", NOW - timedelta(days=31)), entry("new", NOW)])
    await store.audit.forget(NOW - timedelta(days=30))
    assert [row.entry.actor for row in await store.audit.page(10)] == ["new"]
