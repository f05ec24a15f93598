"""Settings of the store, the log and the worker's API do what they say."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from podling.boot.master import make_server, opened_store
from podling.boot.settings import read_master, read_worker
from podling.boot.worker import make_options
from podling.core.errors import ConfigurationError
from podling.core.lifecycle import Cancel
from podling.kit.clock import SystemClock
from podling.master.inserts import Insert
from podling.store.memory.store import MemoryStore
from podling.store.postgres.store import PostgresStore
from podling.worker.datadir import DataDirectory
from tests.builders import build_task
from tests.conftest import ServerOf


@pytest.fixture
async def dsn(server_of: ServerOf) -> AsyncIterator[str]:
    async with server_of("embedded").empty_database() as address:
        yield address


async def shown(dsn: str, *flags: str, **environ: str) -> tuple[str, str, int]:
    """Return what a connection of the master's pool says, and how many it may have."""
    settings = read_master(flags, {"STORE_TYPE": "postgres", "DATABASE_URL": dsn} | environ)
    async with opened_store(settings) as store:
        assert isinstance(store, PostgresStore)
        await store.open()
        try:
            async with store._pool.connection() as connection:
                commit = await connection.fetchval("SHOW synchronous_commit")
                timeout = await connection.fetchval("SHOW statement_timeout")
            assert store._pool._pool is not None
            return commit, timeout, store._pool._pool.get_max_size()
        finally:
            await store.close()


async def test_the_pool_is_as_large_and_as_patient_as_the_operator_says(dsn: str) -> None:
    flags = ("--database-pool-size", "4", "--database-timeout", "2500ms")
    assert (await shown(dsn, *flags))[1:] == ("2500ms", 4)
    assert (await shown(dsn))[1:] == ("10s", 10)


async def test_synchronous_commit_is_the_servers_until_somebody_says_otherwise(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DO $$ BEGIN EXECUTE format("
            "'ALTER DATABASE %I SET synchronous_commit = local', current_database()); END $$")  # fmt: skip
    finally:
        await connection.close()
    assert (await shown(dsn))[0] == "local"
    assert (await shown(dsn, PODLING_SYNCHRONOUS_COMMIT="remote_apply"))[0] == "remote_apply"
    assert (await shown(dsn, "--synchronous-commit", "off"))[0] == "off"


def test_losing_what_was_accepted_is_warned_of() -> None:
    environ = {"STORE_TYPE": "postgres", "DATABASE_URL": "postgres://u@127.0.0.1:1/d"}
    [notice] = read_master(["--synchronous-commit", "off"], environ).notices
    assert "answered with 201" in notice
    assert read_master(["--synchronous-commit", "on"], environ).notices == ()


@pytest.mark.parametrize(
    "flags",
    [
        ("--database-pool-size", "2"),
        ("--database-pool-size", "many"),
        ("--database-timeout", "0"),
        ("--synchronous-commit", "sometimes"),
    ],
)
def test_what_means_nothing_is_refused_by_its_name(flags: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=flags[0]):
        read_master(flags, {})


@pytest.mark.parametrize("flags", [(), ("--log-tasks",)])
async def test_moves_of_tasks_are_logged_if_that_is_wanted(
    flags: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(read_master([*flags, "--data-dir", str(tmp_path)], {}), MemoryStore())
    committer = server.context.committer
    with caplog.at_level(logging.INFO, "podling.tasks"):
        task = build_task(queue="mail")
        await committer.insert(Insert(task, "hash"))
        await committer.apply(task.task_id, Cancel())
    lines = [record for record in caplog.records if record.name == "podling.tasks"]
    wanted = [f"task {task.task_id} is {status}" for status in ("pending", "cancelled")]
    assert [line.getMessage() for line in lines] == (wanted if flags else [])
    assert all(vars(line)["queue"] == "mail" for line in lines)


async def test_a_worker_without_an_api_names_a_port_and_takes_none(tmp_path: Path) -> None:
    settings = read_worker(["--no-api", "--data-dir", str(tmp_path)], {})
    directory = DataDirectory.open(settings.data_dir)
    try:
        options = await make_options(settings, directory, SystemClock())
    finally:
        directory.close()
    assert (options.has_api, options.port) == (False, 8071)
