"""Statements in real databases: rows, parameters, refusals, timeouts, lost connections, sessions."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from podling.core.logrecord import Stream
from podling.core.spec import ContainerSpec
from podling.worker.runtime.base import ContainerWork, Found
from podling.worker.runtime.sql import SqlRuntime
from podling.worker.runtime.sql_statements import MOST_ROW_BYTES, MOST_ROWS
from tests.postgres_servers import PostgresServer
from tests.worker.runtime.recorder import DEADLINE_SECONDS, Recorder, output_of, run, text_of

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{}'; END $$"
OURS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'podling'"
)


class Sql:
    """A runtime with one database, and what its tests ask of it."""

    def __init__(self, runtime: SqlRuntime, recorder: Recorder, dsn: str) -> None:
        self.runtime = runtime
        self.recorder = recorder
        self.dsn = dsn
        self._number = 0

    def work(
        self, statement: str, *parameters: Any, database: str | None = "shop", **more: Any
    ) -> ContainerWork:
        self._number += 1
        return ContainerWork(
            engine_name=f"podling-c-t{self._number}-1",
            task_id=f"t{self._number}",
            attempt=1,
            container=ContainerSpec(stop_grace_seconds=5),
            network="bridge",
            statement=statement,
            parameters=orjson.dumps(parameters).decode(),
            database=database,
            **more,
        )

    async def end(self, statement: str, *parameters: Any, **more: Any) -> Found:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await run(self.runtime, self.recorder, self.work(statement, *parameters, **more))

    async def text(self, end: Found, stream: Stream = Stream.STDOUT) -> str:
        return text_of(await output_of(self.runtime, end.container_id), stream).decode()

    async def done(self, statement: str, *parameters: Any, **more: Any) -> list[Any]:
        """Return what it wrote to its log, line by line; it must have ended well."""
        end = await self.end(statement, *parameters, **more)
        assert (end.exit_code, end.error_code) == (0, None), (statement, end)
        return [json.loads(line) if line[0] == "{" else line for line in (await self.text(end)).splitlines()]

    async def refused(self, statement: str, *parameters: Any, **more: Any) -> tuple[str | None, str]:
        end = await self.end(statement, *parameters, **more)
        assert end.exit_code is None, (statement, end)
        return end.error_code, end.error or ""

    async def ask(self, statement: str, *arguments: Any) -> Any:
        """Ask the database without the runtime."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()


@pytest.fixture
async def sql(postgres_server: PostgresServer, recorder: Recorder, tmp_path: Path) -> AsyncIterator[Sql]:
    async with postgres_server.empty_database() as dsn:
        nowhere = "postgres://nobody@127.0.0.1:1/nowhere"
        runtime = SqlRuntime("c", tmp_path, {"shop": dsn, "nowhere": nowhere}, connections=4, slots=100)
        await runtime.open(recorder)
        yield Sql(runtime, recorder, dsn)
        await runtime.close()


async def test_rows_are_json_and_effects_are_there(sql: Sql) -> None:
    assert await sql.done("CREATE TABLE orders (id int PRIMARY KEY, what text)") == ["CREATE TABLE"]
    assert await sql.done("INSERT INTO orders SELECT g, 'x' FROM generate_series(1, 50) g") == ["INSERT 0 50"]
    returned = await sql.done("UPDATE orders SET what = $2 WHERE id <= $1 RETURNING id, what", 2, "ü'; --")
    assert sorted(returned, key=lambda row: row["id"]) == [
        {"id": 1, "what": "ü'; --"},
        {"id": 2, "what": "ü'; --"},
    ]
    assert await sql.done("DELETE FROM orders WHERE id > 40") == ["DELETE 10"]
    assert await sql.ask("SELECT count(*) FROM orders") == 40
    end = await sql.end("SELECT FROM orders WHERE false")
    assert (end.exit_code, await sql.text(end)) == (0, "SELECT 0\n")


async def test_values_of_all_kinds_come_as_json_can_hold_them(sql: Sql) -> None:
    (row,) = await sql.done(
        "SELECT 1::int8 a, 1.50::numeric b, 'NaN'::float8 c, 0.5::float4 d, true e, NULL f, 'ü'::text g,"
        " '2026-11-27'::date h, '1 day'::interval i, '{\"a\": [1]}'::jsonb j, ARRAY[1, NULL] k,"
        " '\\x00ff'::bytea l, int4range(1, 5) m, ROW(1, 'x') n, '10.0.0.1'::inet o,"
        " 'c'::\"char\" q, ARRAY['[2026-01-01,)'::daterange] r, 1 AS a, '\"\\ud800\"'::json p"
    )
    assert row == {
        "a": 1, "b": "1.50", "c": "nan", "d": 0.5, "e": True, "f": None, "g": "ü", "h": "2026-11-27",
        "i": "1 day", "j": {"a": [1]}, "k": [1, None], "l": "\\x00ff", "m": "[1,5)", "n": [1, "x"],
        "o": "10.0.0.1", "q": "c", "r": ["[2026-01-01,)"], "a_18": 1, "p": '"\\ud800"',
    }  # fmt: skip


async def test_parameters_go_by_the_protocol(sql: Sql) -> None:
    await sql.done("CREATE TYPE color AS ENUM ('red', 'blue')")
    await sql.done("CREATE TYPE pair AS (a int, b int)")
    given = ("[2026-01-01,2026-01-31]", [[1, 2], [3, 4]])
    (row,) = await sql.done("SELECT $1::daterange a, $2::int[] b", *given)
    assert row == {"a": "[2026-01-01,2026-02-01)", "b": [[1, 2], [3, 4]]}
    (row,) = await sql.done(
        "SELECT $1::int a, $2::numeric b, $3::text c, $4::timestamptz AT TIME ZONE 'UTC' d, $5::jsonb e,"
        " $6::int[] f, $7::bool g, $8::color h, $9::uuid i, $10::float8 j, $11 k,"
        " $12::date[] l, $13::text IS NULL m",
        *(7, 1.25, "a'b", "2026-11-27T10:00:00Z", {"x": [None]}, [1, None, 3], False, "blue"),
        *("00000000-0000-0000-0000-00000000000a", 2, 5, ["2026-01-02"], None),
    )
    assert row == {
        "a": 7, "b": "1.25", "c": "a'b", "d": "2026-11-27 10:00:00", "e": {"x": [None]}, "f": [1, None, 3],
        "g": False, "h": "blue", "i": "00000000-0000-0000-0000-00000000000a", "j": 2.0, "k": "5",
        "l": ["2026-01-02"], "m": True,
    }  # fmt: skip
    wrong = [
        ("SELECT $1::int", (), "has 1 (the largest $n in it), and 0 were given"),
        ("SELECT 1", (1,), "has 0"),
        ("SELECT $1::int", ("x",), "parameters.0: the statement wants int4 here, not \"x\""),
        ("SELECT $1::int", (1.5,), "wants int4 here, not 1.5"),
        ("SELECT $1::int", (True,), "wants int4 here, not true"),
        ("SELECT $1::int", (2**40,), "value out of int32 range"),
        ("SELECT $1::bool", ("yes",), "wants bool here"),
        ("SELECT $1::text", ({"a": 1},), "wants text here"),
        ("SELECT $1::int[]", (1,), "wants int4[] here"),
        ("SELECT $1::date", ("2026-13-40",), "out of range"),
        ("SELECT $1::pair", ([1, 2],), "write $1::text::pair"),
        ("SELECT $1::int[]", ([[1, 2], [3]],), "non-homogeneous array"),
    ]  # fmt: skip
    for statement, parameters, sentence in wrong:
        code, error = await sql.refused(statement, *parameters)
        assert (code, sentence in error) == ("BAD_PAYLOAD", True), (statement, parameters, error)


async def test_what_the_database_refuses_has_a_code_and_its_sentence(sql: Sql) -> None:
    await sql.done("CREATE TABLE once (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
    refusals = [
        ("SELEC 1", "BAD_STATEMENT", 'syntax error at or near "SELEC" (SQLSTATE 42601, at character 1)'),
        ("SELECT 1; SELECT 2", "BAD_STATEMENT", "cannot insert multiple commands"),
        ("SELECT * FROM nowhere", "BAD_STATEMENT", 'relation "nowhere" does not exist'),
        ("SELECT * FROM pg_stats", "BAD_STATEMENT", "have it cast to text"),
        ("-- nothing", "BAD_STATEMENT", "there is no statement in it"),
        ("SELECT 1 / 0", "BAD_PAYLOAD", "division by zero"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "DEPENDENCY_DOWN", "has done nothing of it"),
        ("SELECT pg_cancel_backend(pg_backend_pid())", "EXTERNAL", "canceling statement due to user request"),
        ("COMMIT", "BAD_STATEMENT", "must not end its transaction"),
        ("ROLLBACK", "BAD_STATEMENT", "must not end its transaction"),
        ("INSERT INTO once VALUES (1), (1)", "UNKNOWN", "duplicate key"),
        (RAISE.format("40001"), "SERIALIZATION", "no (SQLSTATE 40001)"),
        (RAISE.format("40P01"), "DB_DEADLOCK", "no"),
        (RAISE.format("42501"), "ACCESS_DENIED", "no"),
    ]  # fmt: skip
    for statement, code, sentence in refusals:
        told = await sql.refused(statement)
        assert (told[0], sentence in told[1]) == (code, True), (statement, told)
    assert await sql.ask("SELECT count(*) FROM once") == 0
    told = await sql.refused("SELECT 1", database="nowhere")
    assert (told[0], "did not answer" in told[1]) == ("DEPENDENCY_DOWN", True), told


async def test_what_the_server_says_meanwhile_is_in_the_log(sql: Sql) -> None:
    end = await sql.end("DO $$ BEGIN RAISE NOTICE 'half' USING HINT = 'go on'; END $$")
    assert await sql.text(end, Stream.STDERR) == "NOTICE:  half\nHINT:  go on\n"
    end = await sql.end("SELECT nothing()")
    assert (await sql.text(end, Stream.STDERR)).startswith("ERROR:  function nothing() does not exist\nHINT:")


async def test_a_large_result_is_cut_and_counted_and_all_of_it_is_done(sql: Sql) -> None:
    await sql.done("CREATE SEQUENCE seen")
    end = await sql.end("SELECT nextval('seen') FROM generate_series(1, 200000)")
    rows = (await sql.text(end)).splitlines()
    assert (end.exit_code, len(rows)) == (0, MOST_ROWS)
    said = await sql.text(end, Stream.STDERR)
    assert said == f"200000 rows, of which the first {MOST_ROWS} are kept\n"
    assert await sql.ask("SELECT last_value FROM seen") == 200_000
    end = await sql.end("SELECT repeat('x', 20000) FROM generate_series(1, 10)")
    kept = await sql.text(end)
    assert len(kept) <= MOST_ROW_BYTES + 10
    assert await sql.text(end, Stream.STDERR) == "10 rows, of which the first 3 are kept\n"


async def test_its_time_and_a_stop_end_it_at_the_server(sql: Sql) -> None:
    code, error = await sql.refused("SELECT pg_sleep(60)", timeout_seconds=0.2)
    assert (code, "statement timeout" in error) == ("TIMEOUT", True)
    found = await sql.runtime.prepare(sql.work("SELECT pg_sleep(60) /* stopped */"))
    await sql.runtime.start(found.container_id)
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%/* stopped */'"
    await _until(lambda: sql.ask(running), 1)
    await sql.runtime.stop(found.container_id, None, 5)
    end = await sql.recorder.exit_of(found.container_id)
    assert (end.exit_code, end.error_code) == (None, "CANCELLED")
    await _until(lambda: sql.ask(running), 0)


async def test_a_worker_that_ends_leaves_nothing_half_done(sql: Sql) -> None:
    await sql.done("CREATE TABLE marks (id int)")
    statement = "WITH one AS (INSERT INTO marks VALUES (1)) SELECT pg_sleep(60) /* left */"
    found = await sql.runtime.prepare(sql.work(statement))
    await sql.runtime.start(found.container_id)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* left */'"
    await _until(lambda: sql.ask(running), 1)
    await sql.runtime.close()
    await _until(lambda: sql.ask(running), 0)
    assert await sql.ask("SELECT count(*) FROM marks") == 0


async def test_what_cannot_run_in_a_transaction_runs_alone(sql: Sql) -> None:
    await sql.done("CREATE TABLE parts (id int)")
    assert await sql.done("VACUUM parts") == ["VACUUM"]
    assert await sql.done("CREATE INDEX CONCURRENTLY ON parts (id)") == ["CREATE INDEX"]
    await sql.done(
        "CREATE PROCEDURE fill(n int) LANGUAGE plpgsql AS"
        " $$ BEGIN FOR i IN 1..n LOOP INSERT INTO parts VALUES (i); COMMIT; END LOOP; END $$"
    )
    assert await sql.done("CALL fill($1)", 3) == ["CALL"]
    assert await sql.ask("SELECT count(*) FROM parts") == 3
    code, _ = await sql.refused("DO $$ BEGIN COMMIT; PERFORM pg_sleep(60); END $$", timeout_seconds=0.3)
    assert code == "TIMEOUT"


async def test_nothing_of_a_session_is_left_to_the_next(sql: Sql) -> None:
    await sql.done("CREATE TABLE t (id int)")
    for statement in (
        "CREATE TEMP TABLE t AS SELECT 1 AS wrong",
        "SET search_path = pg_catalog",
        "SET default_transaction_read_only = on",
        "SELECT pg_advisory_lock(7)",
        "LISTEN news",
        "SET statement_timeout = 1",
    ):
        await sql.done(statement)
    assert await sql.done("INSERT INTO t VALUES (1) RETURNING id") == [{"id": 1}]
    (row,) = await sql.done("SELECT current_setting('search_path') s, pg_try_advisory_lock(7) l")
    assert row == {"s": '"$user", public', "l": True}
    assert await sql.done("SELECT pg_listening_channels()") == []


async def test_many_share_a_few_connections(sql: Sql) -> None:
    for _ in range(5):
        ends = await asyncio.gather(*(sql.end("SELECT pg_sleep(0.01)") for _ in range(4)))
        assert {end.error_code for end in ends} == {None}
    assert await sql.ask(OURS) <= 4


async def _until(ask: Any, wanted: Any) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await ask() != wanted:
            await asyncio.sleep(0.02)
