"""Lists from a streaming standby: behind it, without it, and with one that is somebody else's."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from podling.core.doctor_database import examine_database
from podling.core.facts import ReplicaFacts
from podling.core.findings import Severity
from podling.core.task import Task
from podling.kit.metrics import Histogram
from podling.master.sampler import Sampler
from podling.master.sessions.registry import Sessions
from podling.store.base import TaskQuery
from podling.store.postgres.embedded_host import Account, binaries
from podling.store.postgres.store import PostgresStore
from tests.builders import NOW, assignment, build_batch, build_task, insertion
from tests.faults.own_postgres import OwnPostgres, server_home
from tests.master.masters import eventually
from tests.master.world import World
from tests.postgres_servers import postgres_account


@dataclass
class Pair:
    primary: OwnPostgres
    standby: OwnPostgres

    async def store(self, read_dsn: str | None = None) -> PostgresStore:
        opened = PostgresStore(self.primary.dsn, read_dsn=read_dsn or self.standby.dsn)
        await opened.open()
        return opened

    async def tell(self, server: OwnPostgres, sql: str) -> None:
        connection = await asyncpg.connect(server.dsn, timeout=30)
        try:
            await connection.execute(sql, timeout=30)
        finally:
            await connection.close(timeout=30)

    async def ask(self, server: OwnPostgres, sql: str) -> Any:
        connection = await asyncpg.connect(server.dsn, timeout=30)
        try:
            return await connection.fetchval(sql, timeout=30)
        finally:
            await connection.close(timeout=30)

    async def catch_up(self) -> None:
        """Return when the standby has applied all that was committed before."""
        written = await self.ask(self.primary, "SELECT pg_current_wal_lsn()::text")

        async def applied() -> bool:
            return bool(await self.ask(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))

        await eventually(applied, "the standby to have caught up", 30.0)


def account() -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    found = postgres_account()
    return Account(int(str(found["user"])), int(str(found["group"])), switch=True)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """The embedded PostgreSQL's own programs, twice: a primary, and its copy by pg_basebackup."""
    with ExitStack() as stack:
        programs = binaries(account())
        primary, standby = (
            OwnPostgres(stack.enter_context(server_home()), binaries=programs) for _ in range(2)
        )
        primary.initialize()
        stack.callback(primary.stop, "immediate")
        primary.start()
        stack.callback(standby.stop, "immediate")
        standby.clone(primary, "standby")
        standby.start()
        yield Pair(primary, standby)


@pytest.fixture
async def store(pair: Pair) -> AsyncIterator[PostgresStore]:
    opened = await pair.store()
    await pair.catch_up()  # the schema too
    await opened.close()
    opened = await pair.store()
    try:
        assert facts_of(opened).problem is None
        yield opened
    finally:
        await opened.close()


def facts_of(store: PostgresStore) -> ReplicaFacts:
    assert store.replica is not None
    return store.replica


async def submit(store: PostgresStore, name: str) -> Task:
    task = build_task(name=name)
    await store.commit(build_batch([insertion(task)]))
    return task


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.name == "podling.store.postgres.replica"]


async def listed(store: PostgresStore, name: str, *, fresh: bool = False) -> list[str]:
    return [task.task_id for task in await store.list_tasks(TaskQuery(name=name, fresh=fresh))]


async def test_lists_come_from_the_standby_and_single_tasks_from_the_primary(
    pair: Pair, store: PostgresStore
) -> None:
    await pair.tell(pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        task = await submit(store, "behind")
        assert await listed(store, "behind") == []
        assert await listed(store, "behind", fresh=True) == [task.task_id]
        assert set(await store.load_tasks([task.task_id])) == {task.task_id}
        await store.commit(build_batch([assignment(task)]))
        assert len(await store.load_attempts(task.task_id)) == 1
    finally:
        await pair.tell(pair.standby, "SELECT pg_wal_replay_resume()")
    await pair.catch_up()
    assert await listed(store, "behind") == [task.task_id]
    assert facts_of(store).fallbacks == 0


async def test_labels_are_found_on_the_standby_too(pair: Pair, store: PostgresStore) -> None:
    task = build_task(labels={"app": "standby"})
    await store.commit(build_batch([insertion(task)]))
    await pair.catch_up()
    found = await store.list_tasks(TaskQuery(labels={"app": "standby"}))
    assert [one.task_id for one in found] == [task.task_id] and facts_of(store).fallbacks == 0


async def test_the_primary_answers_while_the_standby_is_away(
    pair: Pair, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "podling.store.postgres.replica")
    pair.standby.stop("immediate")
    try:
        task = await submit(store, "alone")
        assert await listed(store, "alone") == await listed(store, "alone") == [task.task_id]
        assert facts_of(store).fallbacks == 2 and facts_of(store).problem is not None
        assert levels(caplog) == ["WARNING"]
        assert "lists are read from the primary" in caplog.text and pair.primary.password not in caplog.text
    finally:
        pair.standby.start()
    await pair.catch_up()
    assert store._replica is not None
    await store._replica.look()
    assert facts_of(store).problem is None
    assert await listed(store, "alone") == [task.task_id] and facts_of(store).fallbacks == 2
    assert levels(caplog) == ["WARNING", "INFO"]


async def test_a_master_starts_without_its_standby(pair: Pair) -> None:
    pair.standby.stop("immediate")
    try:
        opened = await pair.store()
        try:
            task = await submit(opened, "first")
            assert await listed(opened, "first") == [task.task_id]
        finally:
            await opened.close()
    finally:
        pair.standby.start()


async def test_one_that_is_too_far_behind_is_not_read(
    pair: Pair, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.store.postgres.replica.MOST_LAG_SECONDS", 0.0)
    await pair.tell(pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        task = await submit(store, "late")
        facts = await store.diagnose(NOW)
        assert facts.database is not None and facts.database.replica is not None
        assert (facts.database.replica.lag_seconds or 0) > 0
        [finding] = [one for one in examine_database(facts.database, 1) if one.code.startswith("replica")]
        assert (finding.severity, finding.code) == (Severity.WARNING, "replica_away")
        assert await listed(store, "late") == [task.task_id]
    finally:
        await pair.tell(pair.standby, "SELECT pg_wal_replay_resume()")
    await pair.catch_up()
    [finding] = [
        one
        for one in examine_database((await store.diagnose(NOW)).database or pytest.fail(), 1)
        if one.code.startswith("replica")
    ]
    assert (finding.severity, finding.code) == (Severity.NOTE, "replica_lag")
    assert "behind by 0.0 s" in finding.message


async def test_a_master_s_metrics_tell_of_it(store: PostgresStore) -> None:
    context = World(store).context()
    sampler = Sampler(context, Sessions(context, lambda _: None))
    parts = [part for part in sampler.instruments() if not isinstance(part, Histogram)]
    found = {part.name: part.values for part in parts if "replica" in part.name}
    assert found == {
        "podling_read_replica_up": {(): 1},
        "podling_read_replica_lag_seconds": {(): facts_of(store).lag_seconds},
        "podling_read_replica_fallbacks": {(): 0},
    }


async def test_another_cluster_s_lists_are_never_shown(pair: Pair, store: PostgresStore) -> None:
    await pair.tell(pair.primary, "CREATE DATABASE foreign_cluster")
    foreign_dsn = pair.primary.dsn.removesuffix("postgres") + "foreign_cluster"
    foreign = PostgresStore(foreign_dsn)
    await foreign.open()
    await foreign.close()
    opened = await pair.store(read_dsn=foreign_dsn)
    try:
        assert facts_of(opened).problem == "it belongs to another cluster: correct DATABASE_READ_URL"
        task = await submit(opened, "mine")
        assert await listed(opened, "mine") == [task.task_id]
    finally:
        await opened.close()
