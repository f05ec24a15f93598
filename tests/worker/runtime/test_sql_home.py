"""Statements in Podling's own database: their end is committed with what they did, or neither is."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from podling.store.postgres.store import PostgresStore
from podling.worker.runtime.sql import SqlRuntime
from podling.worker.runtime.sql_statements import MOST_RESULT_BYTES
from tests.postgres_servers import PostgresServer
from tests.worker.runtime.recorder import Recorder
from tests.worker.runtime.test_sql import Sql

LIVE = """
    WITH made AS (
        INSERT INTO task_specs (task_id, created_at, kind, name, queue, labels, body)
        VALUES ($1, now(), 'task', 's', 'default', '{}', '{"runtime": "sql"}')
    )
    INSERT INTO live_tasks (
        task_id, version, status, precedence, shape, attempt, node_id, created_at, run_at, due
    )
    VALUES ($1, 5, 'running', 0, 's', $2, 'node-1', now(), now(), false)
"""
NAME = "SELECT current_database()"
RESULT = "SELECT detail ->> 'result' FROM live_tasks"
LEFT = "SELECT kind || ' ' || task_id || ' ' || (body ->> 'attempt') FROM inbox"
STATE = "SELECT version || ' ' || coalesce(detail ->> 'done_at' IS NOT NULL, false) FROM live_tasks"


@pytest.fixture
async def home(postgres_server: PostgresServer, recorder: Recorder, tmp_path: Path) -> AsyncIterator[Sql]:
    """A runtime whose database is its cluster's own, where task t1 runs its first attempt."""
    async with postgres_server.database() as dsn:
        store = PostgresStore(dsn)
        await store.open()
        await store.close()
        connection = await asyncpg.connect(dsn)
        await connection.execute("UPDATE cluster SET cluster_id = 'c'")
        await connection.execute("CREATE TABLE work (id int)")
        await connection.execute(LIVE, "t1", 1)
        await connection.close()
        runtime = SqlRuntime("c", tmp_path, {"shop": dsn}, connections=2, slots=10)
        await runtime.open(recorder)
        yield Sql(runtime, recorder, dsn)
        await runtime.close()


async def test_the_end_is_there_with_the_work(home: Sql) -> None:
    assert await home.ask(STATE) == "5 false"
    assert await home.done("INSERT INTO work VALUES (1)") == ["INSERT 0 1"]
    assert await home.ask("SELECT count(*) FROM work") == 1
    assert await home.ask(STATE) == "6 true"
    assert await home.ask(LEFT) == "end t1 1"


async def test_the_result_is_there_with_the_end(home: Sql) -> None:
    await home.ask('ALTER DATABASE "%s" SET standard_conforming_strings = off' % await home.ask(NAME))
    assert await home.done("SELECT 'it''s $$' AS a, 2 AS b") == [{"a": "it's $$", "b": 2}]
    assert await home.ask(STATE) == "6 true"
    assert await home.ask(RESULT) == '{"rowCount":1,"rows":[{"a":"it\'s $$","b":2}]}'


async def test_a_result_is_small_and_counts_all_rows(home: Sql) -> None:
    await home.done("SELECT repeat('x', 1000) AS x FROM generate_series(1, 40)")
    result = json.loads(await home.ask(RESULT))
    assert result["rowCount"] == 40 and 0 < len(json.dumps(result["rows"])) <= MOST_RESULT_BYTES + 100
    assert len(result["rows"]) == MOST_RESULT_BYTES // 1009


async def test_without_rows_it_is_how_many_were_changed(home: Sql) -> None:
    await home.done("INSERT INTO work VALUES (1), (2)")
    assert json.loads(await home.ask(RESULT)) == {"rowCount": 2}


async def test_an_attempt_that_another_has_replaced_does_nothing(home: Sql) -> None:
    await home.ask("UPDATE live_tasks SET attempt = 2")
    code, error = await home.refused("INSERT INTO work VALUES (1)")
    assert (code, "is not its live one" in error) == ("EXTERNAL", True)
    assert await home.ask("SELECT count(*) FROM work") == 0
    assert await home.ask(STATE) == "5 false"
    assert await home.ask("SELECT count(*) FROM inbox") == 0


async def test_what_fails_leaves_no_end(home: Sql) -> None:
    assert (await home.refused("INSERT INTO work VALUES (1 / 0)"))[0] == "BAD_PAYLOAD"
    assert await home.ask(STATE) == "5 false"
    await home.ask("UPDATE cluster SET cluster_id = 'another'")
    assert await home.done("SELECT 1 AS one") == [{"one": 1}]
    assert await home.ask(STATE) == "5 false"


async def test_a_statement_cannot_put_another_function_in_its_place(home: Sql) -> None:
    await home.ask("CREATE SCHEMA theirs")
    await home.ask(
        "CREATE FUNCTION theirs.podling_end(text, text, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'"
    )
    await home.done("SELECT set_config('search_path', 'theirs, public', false)")
    assert await home.ask(STATE) == "6 true"
