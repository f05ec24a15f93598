"""Partitions come in time, old rows go."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from podling.core.audit import AuditEntry, Outcome
from podling.core.lifecycle import Cancel
from podling.store.base import PeerMessage
from podling.store.ports.audit import AuditQuery
from podling.store.postgres import maintenance
from podling.store.postgres.audit import AuditTable
from podling.store.postgres.pool import Address, Pool
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW, build_batch, build_task, happening, insertion

PARTITIONS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ended_tasks'::regclass"


async def test_this_month_and_two_more_have_partitions(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    assert await connection.fetchval(PARTITIONS) == 4
    assert (await store.maintain()).partitions_made == 0
    newest = await connection.fetchval(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'ended_tasks'::regclass "
        "AND inhrelid::regclass::text <> 'ended_tasks_default'"
    )
    await connection.execute(f"DROP TABLE {newest}")
    assert (await store.maintain()).partitions_made == 1


async def test_an_ended_task_lies_in_the_month_of_its_commit(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    task = build_task()
    await store.commit(build_batch([insertion(task)]))
    await store.commit(build_batch([happening(task, Cancel())]))
    place, expected = await connection.fetchrow(
        "SELECT tableoid::regclass::text, to_char(now() AT TIME ZONE 'UTC', '\"ended_tasks_\"YYYY_MM') "
        "FROM ended_tasks"
    )
    assert place == expected


async def test_old_changes_and_keys_go_and_young_ones_stay(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    ended, alive, young = (build_task(idempotency_key=key) for key in ("ended", "alive", "young"))
    await store.commit(build_batch(map(insertion, (ended, alive, young))))
    await store.commit(build_batch([happening(ended, Cancel())]))
    await connection.execute(
        "UPDATE idempotency_keys SET claimed_at = now() - interval '8 days' WHERE key <> 'young'"
    )
    await connection.execute("UPDATE changes SET committed_at = now() - interval '11 minutes'")
    await store.commit(build_batch([]))
    done = await store.maintain()
    assert (done.changes_removed, done.keys_removed) == (2, 1)
    keys = await connection.fetch("SELECT key FROM idempotency_keys ORDER BY key")
    assert [row["key"] for row in keys] == ["alive", "young"]


async def test_the_last_change_of_a_master_is_remembered_for_a_day(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    for number in (1, 2, 3):
        await store.commit(build_batch([], master_id="m1", number=number))
    await connection.execute("UPDATE changes SET committed_at = now() - interval '11 minutes'")
    assert (await store.maintain()).changes_removed == 2
    assert dict(await store.changes_kept()) == {"m1": (3, 3)}
    await connection.execute("UPDATE changes SET committed_at = now() - interval '25 hours'")
    assert (await store.maintain()).changes_removed == 1
    assert dict(await store.changes_kept()) == {}


async def test_messages_that_no_master_takes_go_after_a_minute(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    await store.post([PeerMessage(recipient="m1", body="old")])
    await connection.execute("UPDATE peer_messages SET posted_at = now() - interval '61 seconds'")
    await store.post([PeerMessage(recipient="m1", body="young")])
    assert (await store.maintain()).messages_removed == 1
    assert list(await store.take_messages("m1")) == ["young"]


async def test_tasks_ended_long_ago_go_with_everything_about_them(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    old, new = build_task(), build_task()
    await store.commit(build_batch(map(insertion, (old, new))))
    await store.commit(build_batch(happening(task, Cancel()) for task in (old, new)))
    await connection.execute(
        "UPDATE ended_tasks SET ended_at = now() - interval '100 days' WHERE task_id = $1", old.task_id
    )
    assert (await store.maintain(timedelta(days=90))).tasks_removed == 1
    assert set(await store.load_tasks([old.task_id, new.task_id])) == {new.task_id}
    specs = await connection.fetch("SELECT task_id FROM task_specs")
    assert [row["task_id"] for row in specs] == [new.task_id]


async def test_much_that_is_old_is_left_for_another_pass_and_keeps_nobody_waiting(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    tasks = [build_task() for _ in range(1500)]
    await store.commit(build_batch(map(insertion, tasks)))
    await store.commit(build_batch(happening(task, Cancel()) for task in tasks))
    await connection.execute(
        "INSERT INTO peer_messages (recipient, body, posted_at)"
        " SELECT 'm1', number::text, now() - interval '2 minutes' FROM generate_series(1, 2500) AS number"
    )
    first = await store.maintain(timedelta(0), 0.0)
    assert (first.messages_removed, first.tasks_removed, first.is_complete) == (1000, 1000, False)
    second = await store.maintain(timedelta(0))
    assert (second.messages_removed, second.tasks_removed, second.is_complete) == (1500, 500, True)


async def test_many_old_tasks_go_in_batches(store: PostgresStore, connection: asyncpg.Connection) -> None:
    tasks = [build_task() for _ in range(2500)]
    await store.commit(build_batch(map(insertion, tasks)))
    await store.commit(build_batch(happening(task, Cancel()) for task in tasks))
    assert (await store.maintain(timedelta(0))).tasks_removed == len(tasks)
    assert await connection.fetchval("SELECT count(*) FROM task_specs") == 0


async def test_who_keeps_a_transaction_open_is_named(
    store: PostgresStore, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.execute("SET application_name = 'a forgotten session'")
    async with connection.transaction():
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await maintenance.warn_of_old_transactions(store._pool, timedelta(minutes=1))
        assert not caplog.messages
        await maintenance.warn_of_old_transactions(store._pool, timedelta(0))
    told = [message for message in caplog.messages if "a forgotten session" in message]
    assert len(told) == 1
    assert f"pg_terminate_backend({pid})" in told[0]


async def test_the_servers_own_work_is_not_named(
    store: PostgresStore, dsn: str, connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A parallel worker stands for autovacuum, which nobody can order: both are no client's sessions."""
    is_new = connection.get_server_version().major >= 16
    parallel = "debug_parallel_query" if is_new else "force_parallel_mode"
    working = await asyncpg.connect(dsn, server_settings={parallel: "on"})
    own = working.get_server_pid()
    sleeping = asyncio.create_task(working.execute("SELECT pg_sleep(60)"))
    pid = None
    try:
        async with asyncio.timeout(20):
            while pid is None:
                pid = await connection.fetchval(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'parallel worker' AND xact_start IS NOT NULL"
                )
        await maintenance.warn_of_old_transactions(store._pool, timedelta(0))
    finally:
        await connection.execute("SELECT pg_terminate_backend($1)", own)
        await asyncio.gather(sleeping, return_exceptions=True)
    assert any(f"pg_terminate_backend({own})" in told for told in caplog.messages)
    assert not any(f"pg_terminate_backend({pid})" in told for told in caplog.messages)


async def test_a_partition_in_use_stays_until_the_next_time(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "CREATE TABLE ended_tasks_2020_01 PARTITION OF ended_tasks "
        "FOR VALUES FROM ('2020-01-01+00') TO ('2020-02-01+00')"
    )
    async with connection.transaction():
        await connection.fetch("SELECT FROM ended_tasks")
        assert (await store.maintain()).partitions_dropped == 0
    assert (await store.maintain()).partitions_dropped == 1


async def test_an_empty_partition_of_the_past_is_dropped(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "CREATE TABLE ended_tasks_2020_01 PARTITION OF ended_tasks "
        "FOR VALUES FROM ('2020-01-01+00') TO ('2020-02-01+00')"
    )
    assert (await store.maintain()).partitions_dropped == 1


async def test_of_very_many_audit_entries_the_newest_stay(dsn: str) -> None:
    pool = Pool(Address(dsn, 10.0), size=1)
    await pool.open()
    try:
        audit = AuditTable(pool, most=3)
        entry = AuditEntry(at=NOW, actor="ada", method="POST", route="/", outcome=Outcome.DONE)
        await audit.add([replace(entry, actor=str(number)) for number in range(2500)])
        await audit.forget(NOW)
        assert [row.entry.actor for row in await audit.find(AuditQuery(limit=10))] == ["2499", "2498", "2497"]
    finally:
        await pool.close()
