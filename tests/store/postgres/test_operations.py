"""What docs/operations.md tells an operator to do with PostgreSQL, done."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podling.core.errors import ConfigurationError
from podling.store.base import TaskQuery
from podling.store.postgres import install
from podling.store.postgres.store import PostgresStore
from tests.builders import build_batch, build_task, insertion
from tests.conftest import ServerOf
from tests.faults.own_postgres import OwnPostgres, own, own_postgres
from tests.poolers import pooler
from tests.postgres_servers import DEBIAN_BINARIES, PostgresServer
from tests.store.postgres.test_setups import GO_TABLES, login, run

USES_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_a_dump_of_a_running_database_is_restored_into_a_new_one(
    server_of: ServerOf, tmp_path: Path
) -> None:
    server = server_of("debian")
    dump = str(tmp_path / "podling.dump")
    async with server.database() as dsn, server.empty_database() as new, opened(dsn) as store:
        task = build_task(idempotency_key="key")
        await store.commit(build_batch([insertion(task)]))
        await asyncio.to_thread(_tool, "pg_dump", dsn, "--format", "custom", "--file", dump)
        await store.commit(build_batch([insertion(build_task())], number=2))
        await asyncio.to_thread(_tool, "pg_restore", "--dbname", new, "--no-owner", dump)
        assert (await install.verify(new)).is_sound
        async with opened(new) as restored:
            assert list(await restored.list_tasks(TaskQuery())) == [task]
            assert await restored.cluster_id() == await store.cluster_id()


def _tool(program: str, *arguments: str) -> None:
    command = [str(DEBIAN_BINARIES / program), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


async def test_a_schema_of_its_own_stands_beside_another_programs_tables(
    old_or_new_server: PostgresServer,
) -> None:
    async with old_or_new_server.empty_database() as dsn:
        await run(dsn, GO_TABLES, "CREATE USER podling PASSWORD 'podling123'")
        try:
            await run(dsn, "CREATE SCHEMA podling AUTHORIZATION podling")
            async with opened(login(dsn, "podling", "podling123")) as store:
                await store.commit(build_batch([insertion(build_task())]))
                assert (await install.verify(login(dsn, "podling", "podling123"))).schema == "podling"
        finally:
            await run(dsn, "DROP OWNED BY podling CASCADE", "DROP USER podling")


async def test_a_pooler_without_a_direct_address_is_refused_with_the_way_out(
    server_of: ServerOf, open_folder: Path
) -> None:
    refused = pytest.raises(ConfigurationError, match="DATABASE_DIRECT_URL")
    async with server_of("debian").empty_database() as direct:
        with pooler(direct, open_folder) as pooled, refused:
            await PostgresStore(pooled).open()


async def test_a_server_with_tls_is_used_by_every_mode_that_asks_for_it(tmp_path: Path) -> None:
    with own_postgres() as server:
        certificate = await asyncio.to_thread(_turn_tls_on, server)
        roots = f"sslrootcert={certificate}"
        for query in ("sslmode=require", f"sslmode=verify-ca&{roots}", f"sslmode=verify-full&{roots}"):
            async with opened(f"{server.dsn}?{query}") as store, store._pool.connection() as connection:
                assert await connection.fetchval(USES_TLS)
        with pytest.raises(ConfigurationError, match="sslrootcert"):
            await PostgresStore(f"{server.dsn}?sslmode=verify-full").open()


def _turn_tls_on(server: OwnPostgres) -> Path:
    """Make a certificate for the server, and start it again with it."""
    folder = server.home.parent
    key, certificate = server.home / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    key.chmod(0o600)
    own(key)
    server.stop()
    server.start(ssl="on", ssl_cert_file=str(certificate), ssl_key_file=str(key))
    return certificate
