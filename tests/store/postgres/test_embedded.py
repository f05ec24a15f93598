"""The life of the embedded server: shared, taken over after a kill, stopped by the last to leave."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from podling.core.errors import ConfigurationError, StoreUnavailable
from podling.store.postgres import embedded_host
from podling.store.postgres.embedded import EmbeddedPostgres, embedded_directory
from podling.store.postgres.embedded_host import Account

_HOLD = """
import asyncio, sys
from podling.store.postgres.embedded import EmbeddedPostgres

async def main():
    await EmbeddedPostgres(sys.argv[1]).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def using(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "data-dir")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def query(server: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(server.dsn, timeout=10)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close(timeout=10)


def start_holder(folder: Path) -> subprocess.Popen[str]:
    """Start another process that uses the server, and wait until it does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder / "data-dir")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "started\n"
    return holder


def kill(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate(timeout=10)


async def test_it_runs_postgresql_18_and_keeps_its_data(open_folder: Path) -> None:
    async with using(open_folder) as server:
        assert str(await query(server, "SHOW server_version")).startswith("18.")
        await query(server, "CREATE TABLE kept (n int)")
    async with using(open_folder) as server:
        assert await query(server, "SELECT count(*) FROM kept") == 0


async def test_the_last_to_leave_stops_it(open_folder: Path) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(using(open_folder))
        second = await stack.enter_async_context(using(open_folder))
        pid = first.postmaster_pid()
        assert pid == second.postmaster_pid()
        await first.stop()
        assert second.postmaster_pid() == pid
        assert await query(second, "SELECT 1") == 1
        await second.stop()
        assert second.postmaster_pid() is None


async def test_it_outlives_a_killed_starter_and_is_attached_to(open_folder: Path) -> None:
    holder = start_holder(open_folder)
    pid = EmbeddedPostgres(open_folder / "data-dir").postmaster_pid()
    kill(holder)
    async with using(open_folder) as server:
        assert server.postmaster_pid() == pid
        assert await query(server, "SELECT 1") == 1
    assert server.postmaster_pid() is None


async def test_data_is_taken_up_again_when_starter_and_server_were_killed(open_folder: Path) -> None:
    holder = start_holder(open_folder)
    async with using(open_folder) as server:
        await query(server, "CREATE TABLE kept (n int)")
        pid = server.postmaster_pid()
        assert pid is not None
        kill(holder)
        os.kill(pid, signal.SIGKILL)
        await server.start()
        assert server.postmaster_pid() not in (None, pid)
        assert await query(server, "SELECT count(*) FROM kept") == 0


async def test_a_server_that_dies_is_started_again(open_folder: Path) -> None:
    async with using(open_folder) as server:
        restarted = asyncio.Event()
        keeper = asyncio.create_task(server.keep_running(restarted.set))
        pid = server.postmaster_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(restarted.wait(), 30)
        keeper.cancel()
        await asyncio.wait([keeper])
        assert server.postmaster_pid() != pid
        assert await query(server, "SELECT 1") == 1


async def test_an_interrupted_set_up_is_begun_anew(open_folder: Path) -> None:
    unfinished = open_folder / "data-dir" / "initializing"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").touch()
    async with using(open_folder) as server:
        assert await query(server, "SELECT 1") == 1
    assert not unfinished.exists()


async def test_strangers_get_in_neither_by_socket_nor_without_the_password(open_folder: Path) -> None:
    async with using(open_folder) as server:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn, password="wrong", timeout=10)
        directory = open_folder / "data-dir"
        assert (directory / "password").stat().st_mode & 0o077 == 0
        assert (directory / "socket").stat().st_mode & 0o077 == 0
        assert await query(server, "SHOW listen_addresses") == ""


async def test_a_long_path_gets_a_short_socket(open_folder: Path) -> None:
    deep = open_folder / ("d" * 100)
    deep.mkdir(mode=0o755)
    async with using(deep) as server:
        assert await query(server, "SELECT 1") == 1
        sockets = (deep / "data-dir" / "socket").readlink()
    sockets.rmdir()


async def test_a_directory_that_cannot_be_written_is_named(open_folder: Path) -> None:
    (open_folder / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/inside.* cannot be written"):
        await EmbeddedPostgres(open_folder / "file" / "inside").start()


async def test_the_address_needs_a_start() -> None:
    with pytest.raises(StoreUnavailable):
        _ = EmbeddedPostgres("/nowhere").dsn


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
async def test_root_keeps_the_data_elsewhere_where_a_parent_is_closed(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_host, "SHARED_ROOT", open_folder / "shared")
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    async with using(closed) as server:
        assert await query(server, "SELECT 1") == 1
        assert (closed / "data-dir" / "data").readlink().is_relative_to(open_folder / "shared")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
async def test_a_copy_is_the_same_database_where_the_other_user_can_reach_it(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_host, "SHARED_ROOT", open_folder / "shared")
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    async with using(closed) as server:
        await query(server, "CREATE TABLE kept AS SELECT 7 AS number")
    for place in (closed / "copy", open_folder / "copy"):
        place.mkdir()
        command = ["cp", "-aL", str(closed / "data-dir"), str(place)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    with pytest.raises(ConfigurationError, match="a place that it can reach"):
        async with using(closed / "copy"):
            pass
    async with using(open_folder / "copy") as restored:
        assert await query(restored, "SELECT number FROM kept") == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_root_copies_binaries_that_the_other_user_cannot_reach(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_host, "SHARED_ROOT", open_folder / "shared")
    monkeypatch.setattr(embedded_host, "is_reachable", lambda path, account: False)
    nobody = Account(65534, 65534, switch=True)
    programs = embedded_host.binaries(nobody)
    assert programs.is_relative_to(open_folder / "shared")
    told = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, **nobody.options()
    )
    assert told.stdout.startswith("postgres (PostgreSQL) 18")


def test_the_address_names_its_directory() -> None:
    assert embedded_directory("postgres://host/db") is None
    assert embedded_directory("embedded:var/postgres") == Path("var/postgres")
    with pytest.raises(ConfigurationError, match="needs a directory"):
        embedded_directory("embedded:")
