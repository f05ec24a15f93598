"""The names of pgsql-broker: each does what it can mean here, or says what takes its place."""

import json
from typing import Any

import asyncpg
import pytest

from podling.store.postgres import install
from podling.store.postgres.store import PostgresStore
from tests.builders import build_batch, build_task, insertion

Connection = asyncpg.Connection


@pytest.fixture
async def broker(store: PostgresStore, dsn: str, connection: Connection) -> Connection:
    """A connection to a database that has them."""
    report = await install.install(dsn, broker_names=True)
    assert report.is_sound
    return connection


async def bodies(connection: Connection) -> list[Any]:
    return [json.loads(row[0]) for row in await connection.fetch("SELECT body FROM inbox ORDER BY inbox_id")]


async def test_a_job_is_a_sql_task_in_the_callers_transaction(broker: Connection) -> None:
    login = await broker.fetchval("SELECT session_user::text")
    transaction = broker.transaction()
    await transaction.start()
    await broker.execute("SELECT broker_add_job('gone', 'SELECT 1')")
    await transaction.rollback()
    task_id = await broker.fetchval("SELECT broker_add_job('nightly', 'CALL close_books()')")
    assert await bodies(broker) == [
        {
            "name": "nightly",
            "runtime": "sql",
            "statement": "CALL close_books()",
            "queue": "1",
            "priority": 0,
            "labels": {"user-login": login},
        }
    ]
    assert await broker.fetchval("SELECT podling_status($1) ->> 'status'", task_id) == "pending"


async def test_all_that_a_job_may_say_is_kept_with_its_task(broker: Connection) -> None:
    await broker.execute(
        "SELECT broker_add_job('a', 'SELECT 1', 3, 7, 'SQL', run_as => 'reports', user_login => 'ann',"
        " schedule_id => '12')"
    )
    await broker.execute(
        "SELECT broker_add_job('b', $1, job_language => 'plpgsql')", "BEGIN PERFORM 'it''s'; END"
    )
    first, second = await bodies(broker)
    assert (first["queue"], first["priority"], first["database"]) == ("3", 7, "reports")
    assert first["labels"] == {"user-login": "ann", "run-as": "reports", "schedule-id": "12"}
    assert second["statement"] == "DO LANGUAGE plpgsql 'BEGIN PERFORM ''it''''s''; END'"
    await broker.execute(second["statement"])


async def test_the_user_that_was_set_is_kept_with_the_jobs_that_follow(broker: Connection) -> None:
    await broker.execute("SELECT broker_set('user', 'ann'), broker_set('application_name', 'shop')")
    await broker.execute("SELECT broker_add_job('a', 'SELECT 1')")
    assert [body["labels"] for body in await bodies(broker)] == [{"user-login": "ann"}]
    assert await broker.fetchval("SHOW application_name") == "shop"


async def test_get_names_the_next_task_of_a_queue_and_leaves_it_there(
    broker: Connection, store: PostgresStore
) -> None:
    assert await broker.fetchval("SELECT broker_get()") is None
    tasks = [
        build_task(task_id="low", queue="1"),
        build_task(task_id="high", queue="1", priority=5),
        build_task(task_id="other", queue="2", priority=9),
    ]
    await store.commit(build_batch(map(insertion, tasks)))
    for _ in range(2):
        assert await broker.fetchval("SELECT broker_get(1)") == "high"
    assert await broker.fetchval("SELECT broker_get(2)") == "other"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            "broker_add_job('a', 'x', job_language => 'cobol')",
            "language 'cobol' cannot be run here; it is sql or",
        ),
        ("broker_add_job('a', 'x', job_language => NULL)", "language NULL cannot be run here"),
        ("broker_set('fetch_size', '5')", "there is no option 'fetch_size' here"),
        ("broker_run('a')", "the leader gives each to a worker, once"),
        ("broker_register_instance('a', 'host', 12, '1.0', 4)", "instances register themselves here"),
        ("broker_ping_instance(1)", "instances beat by themselves here"),
        ("broker_shutdown_instance(1)", "instances are not ended by SQL here"),
    ],
)
async def test_what_has_no_meaning_is_refused_with_a_sentence(
    broker: Connection, call: str, words: str
) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=words) as refused:
        await broker.execute(f"SELECT {call}")
    assert refused.value.hint
    assert await bodies(broker) == []


async def test_they_are_there_on_request_only_and_all_of_them(
    store: PostgresStore, connection: Connection, dsn: str
) -> None:
    there = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'broker\\_%'"
    assert await connection.fetchval(there) == 0 and (await install.verify(dsn)).is_sound
    for _ in range(2):
        await install.install(dsn, broker_names=True)
    assert await connection.fetchval(there) == len(install.BROKER_FUNCTIONS)
    await connection.execute("DROP FUNCTION broker_get(integer)")
    (problem,) = (await install.verify(dsn)).problems
    assert problem == "the function broker_get(integer) is missing: run podling db install --broker-names"


async def test_a_login_needs_a_grant_for_what_acts_as_the_owner(broker: Connection) -> None:
    rows = await broker.fetch(
        """
        SELECT proname, proconfig
        FROM pg_proc
        WHERE proname LIKE 'broker\\_%' AND prosecdef AND NOT has_function_privilege('public', oid, 'EXECUTE')
        """
    )
    assert {row["proname"] for row in rows} == {"broker_add_job", "broker_get"}
    assert all(row["proconfig"] == ["search_path=public, pg_temp"] for row in rows)
