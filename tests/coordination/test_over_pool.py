"""Over a program's own pool: tables made on connect, the pool left open, lost signals survived."""

import asyncio
from typing import Any

import asyncpg
import pytest

from podling.coordination import Coordination, over_pool
from podling.core.errors import ConfigurationError, InvalidInput, StoreUnavailable
from podling.store.postgres.coordination import PostgresCoordination
from podling.store.postgres.coordination.runner import LentPool
from podling.store.postgres.store import PostgresStore
from tests.coordination.ground import Ground
from tests.postgres_servers import PostgresServer


async def test_the_tables_are_made_by_many_at_once(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=4)
        many = [over_pool(pool) for _ in range(4)]
        assert not any(coordination.is_connected for coordination in many)
        await asyncio.gather(*(coordination.connect() for coordination in many))
        assert all(coordination.is_connected for coordination in many)
        lock = await many[0].locks.acquire("k")
        assert lock is not None and await many[1].locks.acquire("k") is None
        await asyncio.gather(*(coordination.disconnect() for coordination in many))
        assert not many[0].is_connected
        assert await pool.fetchval("SELECT 1") == 1, "the pool is its owner's to close"
        await pool.close()


async def test_a_master_comes_to_the_tables_of_a_program_and_shares_them(
    postgres_server: PostgresServer,
) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2)
        async with over_pool(pool) as coordination:
            held = await coordination.locks.acquire("k", owner="a program")
            assert held is not None
            store = PostgresStore(dsn)
            await store.open()
            found = await store.coordination.locks.find("k")
            assert found is not None and (found.owner, found.token) == ("a program", held.token)
            await store.close()
        await pool.close()


async def test_tables_that_may_not_be_made_are_asked_for(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2)
        coordination = over_pool(pool, create_tables=False)
        with pytest.raises(ConfigurationError, match="podling_locks"):
            await coordination.connect()
        assert not coordination.is_connected
        await over_pool(pool).connect()
        await coordination.connect()
        await pool.close()


async def test_the_default_time_to_live_is_the_callers(pooled: Ground) -> None:
    assert pooled.pool is not None
    async with over_pool(pooled.pool, prefix="p:", lock_seconds=5) as coordination:
        assert await coordination.locks.acquire("k") is not None
        sql = (
            "SELECT extract(epoch FROM expires_at - acquired_at)::float8 FROM podling_locks WHERE key = 'p:k'"
        )
        assert await pooled.pool.fetchval(sql) == pytest.approx(5, abs=0.1)
    for wrong in ({"lock_seconds": 0}, {"prefix": "x" * 129}, {"prefix": "a\nb"}):
        with pytest.raises(InvalidInput):
            over_pool(pooled.pool, **wrong)  # type: ignore[arg-type]


async def test_whatever_codecs_the_caller_has_set(postgres_server: PostgresServer) -> None:
    """A pool that reads JSON as objects, for its own tables."""

    async def set_up(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, schema="pg_catalog", encoder=repr, decoder=len)

    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2, init=set_up)
        async with over_pool(pool) as coordination:
            await coordination.cache.set("k", {"a": [1]})
            assert await coordination.cache.get("k") == {"a": [1]}
        await pool.close()


async def test_a_lost_signal_costs_a_second_and_no_more(pooled: Ground) -> None:
    """The session that listens is ended, again and again; who waits is served all the same."""
    assert pooled.pool is not None
    locks = pooled.coordination.locks
    held = await locks.acquire("k", 300)
    assert held is not None
    waiting = asyncio.create_task(locks.acquire("k", 300, wait_seconds=60))
    async with asyncio.timeout(20):
        while not await pooled.pool.fetchval("SELECT count(*) FROM podling_lock_waiters"):
            await asyncio.sleep(0.01)
    sql = "UPDATE podling_locks SET owner = NULL, expires_at = clock_timestamp() WHERE key = 'k'"
    await pooled.pool.execute(sql)  # free, and nobody is told
    async with asyncio.timeout(10):
        assert await waiting is not None


async def test_the_listener_comes_back(pooled: Ground) -> None:
    assert pooled.pool is not None
    breakers = pooled.coordination.breakers
    changes = breakers.changes("b")
    async with asyncio.timeout(30):
        assert (await anext(changes)).state == "closed"
        ended = await pooled.pool.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert ended == 1
        await breakers.record_failure("b", 1, 300)
        assert (await anext(changes)).state == "open"


async def test_a_pool_of_one_connection_serves_waiters_too(postgres_server: PostgresServer) -> None:
    async with postgres_server.emptied_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=1)
        async with over_pool(pool) as coordination:
            held = await coordination.locks.acquire("k", 300)
            assert held is not None
            waiting = asyncio.create_task(coordination.locks.acquire("k", 300, wait_seconds=60))
            async with asyncio.timeout(20):
                while not await pool.fetchval("SELECT count(*) FROM podling_lock_waiters"):
                    await asyncio.sleep(0.01)
            await held.release()
            async with asyncio.timeout(10):
                assert await waiting is not None
        await pool.close()


async def test_a_database_that_has_gone_is_told_so(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2)
        coordination = await over_pool(pool, timeout_seconds=5).connect()
        await pool.close()
        with pytest.raises(StoreUnavailable):
            await coordination.locks.acquire("k")
        await coordination.disconnect()


async def test_the_databases_clock_counts_and_not_the_clients(pooled: Ground) -> None:
    assert pooled.pool is not None
    lock = await pooled.coordination.locks.acquire("k", 30)
    saved = await pooled.coordination.checkpoints.save("t", 1)
    assert lock is not None
    there = await pooled.pool.fetchval("SELECT clock_timestamp()")
    assert 0 < (lock.expires_at - there).total_seconds() <= 30
    assert 0 <= (there - saved.at).total_seconds() < 30


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_sessions_that_isolate_more_strictly_lose_nothing(
    postgres_server: PostgresServer, isolation: str
) -> None:
    strictly = {"default_transaction_isolation": isolation}
    async with postgres_server.emptied_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=6, server_settings=strictly)
        async with over_pool(pool) as coordination:
            breakers = coordination.breakers
            await asyncio.gather(*(breakers.record_failure("b", 1000) for _ in range(100)))
            assert (await breakers.get_state("b")).failure_count == 100
            given = await asyncio.gather(*(coordination.locks.acquire("k") for _ in range(20)))
            assert sum(lock is not None for lock in given) == 1
        await pool.close()


async def test_who_uses_it_before_connecting_is_told_so(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        pool = await asyncpg.create_pool(dsn, min_size=0, max_size=2)
        with pytest.raises(ConfigurationError, match=r"connect\(\) makes them"):
            await over_pool(pool).locks.acquire("k")
        await pool.close()


class _SlowAnswers(LentPool):
    """Every answer is on its way until `arrives`; `said` is set when the server has done its part."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(pool, 100)
        self.said, self.arrives = asyncio.Event(), asyncio.Event()

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        rows = await super().fetch(sql, *arguments)
        self.said.set()
        await self.arrives.wait()
        return rows


@pytest.mark.parametrize("owner", [None, "somebody"])
async def test_who_is_cancelled_while_the_answer_comes_leaves_no_lock_behind(
    pooled: Ground, owner: str | None
) -> None:
    assert pooled.pool is not None
    runner = _SlowAnswers(pooled.pool)
    slow = Coordination(PostgresCoordination(runner))
    asking = asyncio.create_task(slow.locks.acquire("k", 300, owner))
    async with asyncio.timeout(20):
        await runner.said.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    runner.arrives.set()
    await slow.disconnect()  # what was given up is settled by then
    assert await pooled.coordination.locks.acquire("k", 300, "the next one") is not None
