"""A page of the audit costs what it holds, however much there is and however deep it lies."""

from datetime import timedelta
from typing import Any

import asyncpg

from podling.store.postgres.queries import load
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW
from tests.store.conformance.test_audit import entry
from tests.store.postgres.test_plans import explain, indexes, scans

AUDIT = load("audit")


async def test_a_page_is_read_from_its_place(store: PostgresStore, connection: asyncpg.Connection) -> None:
    await store.audit.add([entry(at=NOW + timedelta(seconds=second)) for second in range(5000)])
    await connection.execute("ANALYZE audit")
    for place in ((None, None), (NOW + timedelta(seconds=100), 7)):
        asked: tuple[Any, ...] = (None, None, None, None, None, None, *place, 50)
        plan = await explain(connection, AUDIT.find, *asked)
        assert indexes(plan) == {"audit_newest"} and not scans(plan)
        assert not any(node["Node Type"] in ("Sort", "Incremental Sort") for node in plan)
        (read,) = (node for node in plan if node.get("Index Name"))
        assert "ROW(at, number)" in read["Index Cond"]
