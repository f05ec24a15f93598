"""From an empty server to an open store, by the ways that are documented, and the refusals."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from podling.core.errors import ConfigurationError, PodlingError
from podling.store.postgres import install
from podling.store.postgres.pool import Address
from podling.store.postgres.store import PostgresStore
from tests.builders import build_batch, build_task, insertion
from tests.conftest import ServerOf
from tests.postgres_servers import PostgresServer, drop_database

MANUAL_SETUP = (
    "CREATE USER podling WITH PASSWORD 'podling123'",
    "CREATE DATABASE podling",
    "GRANT ALL PRIVILEGES ON DATABASE podling TO podling",
)
GO_TABLES = """
CREATE TABLE tasks (
    task_id VARCHAR(255) PRIMARY KEY, name VARCHAR(255) NOT NULL, image VARCHAR(255) NOT NULL, env JSONB,
    status VARCHAR(50) NOT NULL, node_id VARCHAR(255), container_id VARCHAR(255),
    created_at TIMESTAMP NOT NULL, started_at TIMESTAMP, finished_at TIMESTAMP, error TEXT
);
CREATE TABLE nodes (
    node_id VARCHAR(255) PRIMARY KEY, hostname VARCHAR(255) NOT NULL, port INTEGER NOT NULL,
    status VARCHAR(50) NOT NULL, capacity INTEGER NOT NULL, running_tasks INTEGER NOT NULL DEFAULT 0,
    last_heartbeat TIMESTAMP NOT NULL
);
"""


async def run(dsn: str, *commands: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for command in commands:
            await connection.execute(command)
    finally:
        await connection.close(timeout=10)


def login(dsn: str, user: str, password: str, database: str | None = None) -> str:
    """Return the DSN with another user, and maybe another database."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if database is None else f"/{database}"
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password)}@{host}", path=path))


@asynccontextmanager
async def manual_setup(server: PostgresServer) -> AsyncIterator[str]:
    await run(server.dsn, *MANUAL_SETUP)
    try:
        yield login(server.dsn, "podling", "podling123", "podling")
    finally:
        await drop_database(server.dsn, "podling")
        await run(server.dsn, "DROP USER podling")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn, command_timeout_seconds=5)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def refusal(dsn: str) -> str:
    """Return why the store does not open."""
    with pytest.raises(ConfigurationError) as refused:
        async with opened(dsn):
            pass
    return refused.value.message


async def test_the_manual_setup_works_word_for_word(old_or_new_server: PostgresServer) -> None:
    async with manual_setup(old_or_new_server) as dsn:
        async with opened(dsn) as store:
            task = build_task()
            await store.commit(build_batch([insertion(task)]))
        async with opened(dsn) as again:
            assert await again.load_tasks([task.task_id]) == {task.task_id: task}
        assert (await install.verify(dsn)).schema == "podling"


async def test_an_owner_of_the_database_gets_the_tables_in_public(old_or_new_server: PostgresServer) -> None:
    async with old_or_new_server.empty_database() as dsn:
        assert (await install.install(dsn)).schema == "public"
        assert (await install.verify(dsn)).is_sound


async def test_two_masters_may_open_a_new_database_at_once(postgres_server: PostgresServer) -> None:
    async with (
        postgres_server.empty_database() as dsn,
        opened(dsn) as first,
        opened(dsn) as second,
    ):
        assert await first.cluster_id() == await second.cluster_id()


async def test_the_go_programs_database_is_refused_and_its_way_out_works(
    old_or_new_server: PostgresServer,
) -> None:
    async with old_or_new_server.empty_database() as dsn:
        await run(dsn, GO_TABLES)
        message = await refusal(dsn)
        assert "made by the Go program" in message
        assert "pg_dump" in message
        rename = message.split("`")[-2]
        await run(dsn, *filter(None, map(str.strip, rename.split(";"))))
        async with opened(dsn) as store:
            await store.ping()


async def test_tables_of_another_program_are_refused(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        await run(dsn, "CREATE TABLE tasks (id int)")
        assert "relation exists: public.tasks" in await refusal(dsn)


@pytest.mark.parametrize("foreign", [GO_TABLES, "CREATE TABLE tasks (id int)"])
async def test_a_schema_of_the_logins_own_stands_beside_another_programs_tables(
    foreign: str, old_or_new_server: PostgresServer
) -> None:
    server = old_or_new_server
    async with manual_setup(server) as dsn:
        await run(server.dsn_of("podling"), foreign, "GRANT CREATE ON SCHEMA public TO podling")
        assert "CREATE SCHEMA" in await refusal(dsn)
        await run(server.dsn_of("podling"), "CREATE SCHEMA podling AUTHORIZATION podling")
        async with opened(dsn) as store:
            task = build_task()
            await store.commit(build_batch([insertion(task)]))
            assert await store.load_tasks([task.task_id]) == {task.task_id: task}
        report = await install.verify(dsn)
        assert (report.schema, report.is_sound) == ("podling", True)


async def test_tables_where_the_login_may_not_create_are_no_hindrance(
    old_or_new_server: PostgresServer,
) -> None:
    server = old_or_new_server
    async with manual_setup(server) as dsn:
        await run(server.dsn_of("podling"), GO_TABLES, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        assert (await install.install(dsn)).schema == "podling"
        assert (await install.verify(dsn)).is_sound


async def test_a_login_that_may_create_nothing_is_told_the_grant(postgres_server: PostgresServer) -> None:
    async with postgres_server.empty_database() as dsn:
        await run(dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "CREATE USER guest PASSWORD 'secret-9'")
        try:
            message = await refusal(login(dsn, "guest", "secret-9"))
        finally:
            await run(dsn, "DROP USER guest")
    assert "GRANT ALL PRIVILEGES ON DATABASE" in message
    assert "secret-9" not in message


async def test_a_wrong_password_is_told_without_showing_it(server_of: ServerOf) -> None:
    server = server_of("debian")
    message = await refusal(login(server.dsn, "postgres", "wrong-secret"))
    assert "refused the login" in message
    assert "wrong-secret" not in message


async def test_a_missing_database_is_named(server_of: ServerOf) -> None:
    message = await refusal(server_of("debian").dsn_of("absent"))
    assert "does not exist" in message
    assert "/absent" in message


@pytest.mark.parametrize(
    ("dsn", "part"),
    [
        ("postgres://u:hidden@127.0.0.1:1/db", "connection refused"),
        ("postgres://u:hidden@/db?host=/nowhere", "no socket"),
        ("postgres://u:hidden@name.invalid/db", "cannot be reached"),
        ("postgres://u:12#hidden@127.0.0.1:1/db", "%23 for #"),
        ("postgres://u:12/hidden@127.0.0.1:1/db", "%2F for /"),
        ("postgres://u:12?hidden@127.0.0.1:1/db", "%3F for ?"),
        ("postgres://u:hidden@127.0.0.1:1/db?sslmode=verify", "sslmode"),
        ("postgres://u:hidden@127.0.0.1:port/db", "not a valid address"),
        ("mysql://u:hidden@127.0.0.1/db", "must begin with postgres://"),
        ("hidden", "must begin with postgres://"),
        ("postgres://u:s3:c@hidden/t@127.0.0.1:1/podling", "%40 for @"),
        ("postgres://u:p@hidden@127.0.0.1:1/db", "%40 for @"),
        ("postgres://u:12?x@hidden/db", "%3F for ?"),
        ("postgres://u:p@x?hidden@127.0.0.1/db", "%40 for @"),
        ("postgresql://u:hidden@[::1/db", "IPv6"),
        ("postgres://u:hidden[1@127.0.0.1/db", "%5B"),
        ("postgres://u:hidden@127.0.0.1:99999/db", "from 1 to 65535"),
        ("postgres://u:hidden@127.0.0.1:0/db", "from 1 to 65535"),
        ("postgres://u:hidden@[::1]:x,127.0.0.1/db", "from 1 to 65535"),
        ("postgres://u:hidden@127.0.0.1/db?bogus=1", "'bogus'"),
        ("postgres://u:hidden@127.0.0.1/db?connect_timeout=x", "connect_timeout"),
    ],
)
async def test_a_bad_address_is_told_in_one_sentence(
    dsn: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        message = await refusal(dsn)
    assert part in message
    assert "hidden" not in message + caplog.text
    assert "\n" not in message


def test_a_broken_address_shows_nothing_of_its_password() -> None:
    assert Address("postgres://u:hidden@[::1]:5432,b:1/db?sslmode=disable", 1).where == "[::1]:5432,b:1/db"
    for broken in (
        "postgres://u:s3:c@re/hidden@h/db",
        "postgres://u:p@hidden@h/db",
        "postgres://u:a[hidden@h",
    ):
        assert "hidden" not in Address(broken, 1).where


async def test_a_connect_timeout_is_the_clients(server_of: ServerOf) -> None:
    async with server_of("debian").empty_database() as plain:
        dsn = f"{plain}?connect_timeout=7&sslmode=prefer&application_name=mine"
        assert Address(dsn, 10.0).options()["timeout"] == 7.0
        async with opened(dsn) as store:
            await store.ping()


async def test_tls_that_the_server_lacks_is_told(server_of: ServerOf) -> None:
    dsn = server_of("debian").dsn
    for mode in ("require", "verify-ca", "verify-full"):
        assert "TLS" in await refusal(f"{dsn}?sslmode={mode}")
    assert "sslrootcert" in await refusal(f"{dsn}?sslmode=verify-full&sslrootcert=/nowhere.crt")
    async with server_of("debian").empty_database() as plain, opened(f"{plain}?sslmode=disable") as store:
        await store.ping()


async def test_a_store_shows_its_password_nowhere(dsn: str) -> None:
    secret = urlsplit(dsn).password
    assert secret
    store = PostgresStore(dsn)
    assert secret not in repr(store) + repr(store._pool) + repr(store._pool.address)


async def test_a_store_that_is_not_open_says_so() -> None:
    with pytest.raises(PodlingError, match="not available"):
        await PostgresStore("postgres://u:hidden@127.0.0.1:1/db").ping()


async def test_a_database_that_isolates_more_strictly_loses_nothing(postgres_server: PostgresServer) -> None:
    """What is said in one statement each must not fail because others say it, too."""
    async with postgres_server.empty_database() as dsn:
        name = urlsplit(dsn).path.removeprefix("/")
        await run(dsn, f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
        store = PostgresStore(dsn)
        await store.open()
        try:
            breakers = store.coordination.breakers
            await asyncio.gather(*(breakers.record_failure("b", 1000, 30.0) for _ in range(50)))
            assert (await breakers.find("b")).failure_count == 50
        finally:
            await store.close()
