"""The audit: in order, in pages, not for ever."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from podling.core.audit import AuditEntry, Outcome
from podling.store.base import Store
from podling.store.ports.audit import AuditQuery, AuditRow
from podling.store.ports.maintained import Forgotten
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
    later = NOW + timedelta(microseconds=2)
    await store.audit.add([full, entry(at=later, status=None, outcome=Outcome.UNKNOWN)])
    newest, first = await store.audit.find(AuditQuery(limit=10))
    assert first.entry == full and newest.entry.outcome is Outcome.UNKNOWN


async def test_pages_go_back_in_time(store: Store) -> None:
    await store.audit.add([entry(f"number {number}") for number in range(5)])
    first = await store.audit.find(AuditQuery(limit=2))
    second = await store.audit.find(AuditQuery(limit=2, before=first[-1].place))
    third = await store.audit.find(AuditQuery(limit=2, before=second[-1].place))
    names = [row.entry.actor for row in (*first, *second, *third)]
    assert names == [f"number {number}" for number in (4, 3, 2, 1, 0)]


async def test_masters_that_write_late_are_read_by_time(store: Store) -> None:
    """Two masters write what they noted, each in its turn; pages neither skip nor repeat."""
    noted = [entry(f"{number % 2}", NOW + timedelta(milliseconds=number // 3)) for number in range(20)]
    for master in ("1", "0"):
        await store.audit.add([one for one in noted if one.actor == master])
    whole = await store.audit.find(AuditQuery(limit=100))
    assert [row.place for row in whole] == sorted((row.place for row in whole), reverse=True)
    assert [row.entry.at for row in whole] == [one.at for one in reversed(noted)]
    for limit in (1, 3, 7):
        assert await _pages(store, limit) == whole


async def _pages(store: Store, limit: int) -> list[AuditRow]:
    found: list[AuditRow] = []
    while page := await store.audit.find(AuditQuery(limit=limit, before=found[-1].place if found else None)):
        found += page
    return found


async def test_what_comes_between_two_pages_takes_its_place(store: Store) -> None:
    await store.audit.add([entry(f"at {second}", NOW + timedelta(seconds=second)) for second in (2, 4, 6, 8)])
    first = await store.audit.find(AuditQuery(limit=2))
    await store.audit.add([entry(f"at {second}", NOW + timedelta(seconds=second)) for second in (3, 7, 9)])
    second = await store.audit.find(AuditQuery(limit=10, before=first[-1].place))
    assert [row.entry.actor for row in (*first, *second)] == ["at 8", "at 6", "at 4", "at 3", "at 2"]
    again = await store.audit.find(AuditQuery(limit=3))
    assert [row.entry.actor for row in again] == ["at 9", "at 8", "at 7"]


async def test_what_is_old_is_forgotten(store: Store) -> None:
    await store.audit.add([entry("old", NOW - timedelta(days=31)), entry("new", NOW)])
    done = await store.audit.forget(NOW - timedelta(days=30))
    assert done == Forgotten(removed=1, is_complete=True)
    assert [row.entry.actor for row in await store.audit.find(AuditQuery(limit=10))] == ["new"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"actor": "eve"}, "c"),
        ({"method": "DELETE"}, "b"),
        ({"method": "POST", "route": "/api/v1/tasks"}, "ca"),
        ({"outcome": Outcome.REFUSED}, "cb"),
        ({"since": NOW + timedelta(seconds=1)}, "cb"),
        ({"until": NOW + timedelta(seconds=1)}, "a"),
        ({"actor": "ada", "outcome": Outcome.REFUSED, "until": NOW + timedelta(seconds=2)}, "b"),
        ({"actor": "eve'"}, ""),
    ],
)
async def test_only_what_is_asked_for_is_found(store: Store, wanted: Any, found: str) -> None:
    refused = {"outcome": Outcome.REFUSED}
    await store.audit.add(
        [
            entry(code="a"),
            entry(code="b", at=NOW + timedelta(seconds=1), method="DELETE", route="/x", **refused),
            entry("eve", code="c", at=NOW + timedelta(seconds=2), **refused),
        ]
    )
    rows = await store.audit.find(AuditQuery(limit=10, **wanted))
    assert "".join(row.entry.code or "" for row in rows) == found
