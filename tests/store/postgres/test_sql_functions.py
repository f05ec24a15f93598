"""What programs call by SQL, in transactions of their own."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from podling.core.lifecycle import Deny
from podling.store.postgres import install
from podling.store.postgres.hints import CHANNEL, INBOX
from podling.store.postgres.store import PostgresStore
from podling.wire.codec import rfc3339
from tests.builders import NOW, assignment, build_batch, build_task, ended, happening, insertion
from tests.postgres_servers import PostgresServer

Connection = asyncpg.Connection
JOB = {"name": "job", "image": "busybox:local"}
LOGIN = "podling_test_producer"


async def submit(connection: Connection, **fields: Any) -> str:
    return str(await connection.fetchval("SELECT podling_submit($1)", json.dumps(JOB | fields)))


async def status(connection: Connection, task_id: str) -> Any:
    found = await connection.fetchval("SELECT podling_status($1)", task_id)
    return None if found is None else json.loads(found)


async def inbox(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch("SELECT task_id FROM inbox ORDER BY inbox_id")]


async def test_a_task_is_there_with_the_callers_commit_and_not_before(
    store: PostgresStore, connection: Connection, dsn: str
) -> None:
    other = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction():
            task_id = await submit(connection, queue="mail")
            assert await inbox(connection) == [task_id] and await inbox(other) == []
        assert await inbox(other) == [task_id]
        row = await other.fetchrow("SELECT *, session_user AS login FROM inbox")
        assert json.loads(row["body"]) == JOB | {"queue": "mail"} and row["sender"] == row["login"]
    finally:
        await other.close(timeout=10)


async def test_a_rollback_of_the_caller_leaves_nothing_behind(
    store: PostgresStore, connection: Connection
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    task_id = await submit(connection, idempotencyKey="key")
    await connection.execute("SELECT podling_cancel($1)", task_id)
    await transaction.rollback()
    assert await inbox(connection) == [] and await status(connection, task_id) is None
    assert not await connection.fetchval("SELECT count(*) FROM inbox_keys")


async def test_ids_are_uuids_of_version_7_in_the_order_of_their_making(
    store: PostgresStore, connection: Connection
) -> None:
    ids = [await submit(connection) for _ in range(30)]
    many = json.dumps([JOB] * 300)
    ids += [row[0] for row in await connection.fetch("SELECT podling_submit_many($1)", many)]
    assert len(set(ids)) == 330 and all(first < second for first, second in pairwise(ids))
    assert all((len(one), one[14], one[19]) == (36, "7", "8") for one in ids)
    assert await inbox(connection) == ids


async def test_many_come_back_in_their_order_with_keys_or_without(
    store: PostgresStore, connection: Connection
) -> None:
    tasks = [JOB | {"name": f"job-{number}", "idempotencyKey": str(number // 2)} for number in range(4)]
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.fetch("SELECT podling_submit_many($1)", json.dumps(tasks))
    same = [JOB | {"idempotencyKey": key} for key in "aba"]
    first, second, third = await connection.fetch("SELECT podling_submit_many($1)", json.dumps(same))
    assert first == third != second
    assert await inbox(connection) == [first[0], second[0]]
    assert await connection.fetch("SELECT podling_submit_many('[]')") == []


async def test_a_key_gives_the_same_task_to_the_same_content_and_is_refused_to_another(
    store: PostgresStore, connection: Connection
) -> None:
    task_id = await submit(connection, idempotencyKey="it's")
    assert await submit(connection, idempotencyKey="it's") == task_id
    with pytest.raises(asyncpg.UniqueViolationError, match="'it''s' was used for another task"):
        await submit(connection, idempotencyKey="it's", queue="mail")
    assert await submit(connection) != task_id
    assert len(await inbox(connection)) == 2


async def test_who_uses_a_key_meanwhile_waits_for_the_first_ones_end(
    store: PostgresStore, connection: Connection, dsn: str
) -> None:
    other = await asyncpg.connect(dsn, timeout=10)
    try:
        transaction = connection.transaction()
        await transaction.start()
        first = await submit(connection, idempotencyKey="key")
        second = asyncio.create_task(submit(other, idempotencyKey="key"))
        done, _ = await asyncio.wait([second], timeout=0.1)
        assert not done
        await transaction.rollback()
        assert await asyncio.wait_for(second, 10) != first
    finally:
        await other.close(timeout=10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("podling_submit(NULL)", "must be a JSON object, not NULL"),
        ("podling_submit('null')", "must be a JSON object, not null"),
        ("podling_submit('[]')", "must be a JSON object, not array"),
        ("podling_submit('5')", "must be a JSON object, not number"),
        ("""podling_submit('{"name": }')""", "invalid input syntax for type json"),
        ("""podling_submit('{"name": "\\u0000"}')""", "unsupported Unicode escape sequence"),
        ("podling_submit(jsonb_build_object('name', repeat('x', 4194304)))", "more than 4194304 bytes"),
        ("podling_submit(spec) FROM squeezed", "more than 4194304 bytes"),
        ("podling_submit_many(jsonb_build_array(spec)) FROM squeezed", "more than 4194304 bytes"),
        ("podling_submit(jsonb_build_object('payload', array_fill(1e131000, ARRAY[40])))", "4194304 bytes"),
        ("podling_submit_many(NULL)", "must be a JSON array, not NULL"),
        ("podling_submit_many('{}')", "must be a JSON array, not object"),
        ("podling_submit_many('[{}, 1]')", "must be a JSON object, not number"),
        ("podling_cancel(NULL)", "task not found: NULL"),
        ("podling_cancel('nobody')", "task not found: nobody"),
    ],
)
async def test_what_cannot_be_is_an_error_at_once(
    store: PostgresStore, connection: Connection, call: str, words: str
) -> None:
    """`squeezed` has a task that is small as it is stored, and large as it is read."""
    await connection.execute(
        "CREATE TEMP TABLE squeezed AS SELECT jsonb_build_object('name', repeat('x', 4194304)) AS spec"
    )
    with pytest.raises(asyncpg.PostgresError, match=words):
        await connection.execute(f"SELECT {call}")
    assert await inbox(connection) == []


async def test_a_spec_that_only_the_door_can_judge_is_left_to_it(
    store: PostgresStore, connection: Connection
) -> None:
    for given in ("{}", '{"nmae": "x"}', '{"idempotencyKey": 5}', f'{{"idempotencyKey": "{"k" * 3000}"}}'):
        assert await connection.fetchval("SELECT podling_submit($1)", given)
    assert len(await inbox(connection)) == 4


async def test_the_status_is_told_of_what_waits_lives_or_has_ended(
    store: PostgresStore, connection: Connection
) -> None:
    task_id = await submit(connection, queue="mail", runAt="2031-01-01T00:00:00Z")
    waits = await status(connection, task_id)
    assert (waits["status"], waits["admitted"], waits["queue"]) == ("pending", False, "mail")
    assert waits["runAt"] == "2031-01-01T00:00:00Z" and waits["createdAt"].endswith("Z")
    task = build_task(task_id="live")
    placed = assignment(task)
    await store.commit(build_batch([insertion(task)]))
    await store.commit(build_batch([placed]))
    lives = await status(connection, "live")
    assert (lives["status"], lives["admitted"], lives["nodeId"]) == ("scheduled", True, "node-1")
    await store.commit(build_batch([happening(placed.task, ended(placed.task, error_code="OOM", error="x"))]))
    over = await status(connection, "live")
    assert (over["status"], over["errorCode"], over["error"]) == ("failed", "OOM", "x")
    assert over["deadLetterReason"] == "MAX_ATTEMPTS_EXCEEDED" and over["attempt"] == 1
    assert over["createdAt"] == rfc3339(NOW)
    assert await status(connection, "nobody") is None


async def test_a_cancel_is_left_once_more_as_often_as_wished_and_refused_after_another_end(
    store: PostgresStore, connection: Connection
) -> None:
    task_id = await submit(connection)
    for _ in range(2):
        await connection.execute("SELECT podling_cancel($1)", task_id)
    assert await inbox(connection) == [task_id] * 3
    denied = build_task(task_id="denied")
    await store.commit(build_batch([insertion(denied)]))
    await store.commit(build_batch([happening(denied, Deny(reason="no"))]))
    with pytest.raises(asyncpg.PostgresError, match="cannot be cancelled: it is failed and has ended"):
        await connection.execute("SELECT podling_cancel('denied')")


async def test_a_hint_is_sent_with_the_commit_and_masters_take_it_for_what_it_is(
    store: PostgresStore, connection: Connection, dsn: str
) -> None:
    other = await asyncpg.connect(dsn, timeout=10)
    heard: asyncio.Queue[str] = asyncio.Queue()
    told: asyncio.Queue[None] = asyncio.Queue()
    listening = asyncio.create_task(store.listen(lambda: None, on_inbox=lambda: told.put_nowait(None)))
    try:
        await other.add_listener(CHANNEL, lambda *said: heard.put_nowait(said[-1]))
        await asyncio.wait_for(told.get(), 10)  # it listens
        async with connection.transaction():
            for _ in range(3):
                await submit(connection)
            await connection.fetch("SELECT podling_submit_many($1)", json.dumps([JOB]))
        assert await asyncio.wait_for(heard.get(), 10) == INBOX and heard.empty()
        await asyncio.wait_for(told.get(), 10)
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await other.close(timeout=10)


@pytest.fixture
async def producer(
    postgres_server: PostgresServer, store: PostgresStore, dsn: str
) -> AsyncIterator[Connection]:
    """A connection of a login that may do nothing but what an operator grants it."""
    owner = await asyncpg.connect(dsn, timeout=10)
    try:
        await owner.execute(f"DROP ROLE IF EXISTS {LOGIN}; CREATE ROLE {LOGIN} LOGIN PASSWORD 'secret'")
        login = await asyncpg.connect(dsn, user=LOGIN, password="secret", timeout=10)
        try:
            yield login
        finally:
            await login.close(timeout=10)
            await owner.execute(f"DROP OWNED BY {LOGIN}; DROP ROLE {LOGIN}")
    finally:
        await owner.close(timeout=10)


async def test_a_login_needs_the_right_to_execute_and_nothing_else(
    producer: Connection, connection: Connection
) -> None:
    for call in (
        "podling_submit('{}')",
        "podling_submit_many('[]')",
        "podling_cancel('a')",
        "podling_status('a')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await producer.execute(f"SELECT {call}")
    await connection.execute(
        f"""
        GRANT EXECUTE ON FUNCTION podling_submit(jsonb), podling_submit_many(jsonb), podling_cancel(text),
            podling_status(text) TO {LOGIN}
        """
    )
    task_id = await submit(producer, idempotencyKey="key")
    await producer.fetch("SELECT podling_submit_many($1)", json.dumps([JOB]))
    await producer.execute("SELECT podling_cancel($1)", task_id)
    assert (await status(producer, task_id))["status"] == "pending"
    assert {row[0] for row in await connection.fetch("SELECT sender FROM inbox")} == {LOGIN}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await producer.fetch("SELECT * FROM inbox")


async def test_nothing_of_the_callers_own_is_called_in_the_owners_name(
    producer: Connection, connection: Connection
) -> None:
    """A table of the same name that is found first would be read, and its triggers run, as the owner."""
    await connection.execute(f"GRANT EXECUTE ON FUNCTION podling_submit(jsonb) TO {LOGIN}")
    await producer.execute(
        """
        CREATE TEMPORARY TABLE inbox (kind text, task_id text, body jsonb);
        CREATE FUNCTION pg_temp.podling_new_id() RETURNS text LANGUAGE sql AS 'SELECT ''mine''';
        SET search_path = pg_temp, public
        """
    )
    task_id = await producer.fetchval("SELECT public.podling_submit($1)", json.dumps(JOB))
    assert task_id != "mine" and await inbox(connection) == [task_id]


async def test_the_rights_of_the_functions_are_as_they_are_described(
    store: PostgresStore, connection: Connection
) -> None:
    rows = await connection.fetch(
        """
        SELECT proname, prosecdef, proconfig, has_function_privilege('public', oid, 'EXECUTE') AS is_public
        FROM pg_proc
        WHERE proname LIKE 'podling\\_%'
        """
    )
    assert not any(row["is_public"] for row in rows)
    definers = {row["proname"]: row["proconfig"] for row in rows if row["prosecdef"]}
    assert {"podling_submit", "podling_submit_many", "podling_cancel", "podling_status"} <= set(definers)
    assert all(config == ["search_path=public, pg_temp"] for config in definers.values())


async def test_verify_knows_each_of_the_functions(store: PostgresStore, connection: Connection) -> None:
    named = "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE proname ^@ 'podling_'"
    rows = await connection.fetch(named)
    assert {row["name"].replace(",", ", ") for row in rows} == set(install.FUNCTIONS)


async def test_keys_are_forgotten_after_a_week_when_their_task_has_ended(
    store: PostgresStore, connection: Connection
) -> None:
    waits = await submit(connection, idempotencyKey="waits")
    await submit(connection, idempotencyKey="new")
    await connection.execute(
        """
        INSERT INTO inbox_keys
        VALUES ('old', 'gone', '', now() - interval '8 days'), ('young', 'gone', '', now());
        UPDATE inbox_keys SET claimed_at = now() - interval '8 days' WHERE key = 'waits'
        """
    )
    await store.maintain()
    kept = await connection.fetch("SELECT key FROM inbox_keys ORDER BY key")
    assert [row[0] for row in kept] == ["new", "waits", "young"]
    assert await submit(connection, idempotencyKey="waits") == waits
