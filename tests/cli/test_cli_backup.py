"""`podling backup` and `podling restore`, on a real database."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.postgres_servers import PostgresServer


@pytest.fixture
async def empty(postgres_server: PostgresServer) -> AsyncIterator[str]:
    async with postgres_server.empty_database() as dsn:
        yield dsn


@pytest.fixture
async def full(postgres_server: PostgresServer) -> AsyncIterator[str]:
    async with postgres_server.database() as dsn:
        yield dsn


def test_there_and_back(cli: Cli, full: str, empty: str, tmp_path: Path) -> None:
    file = str(tmp_path / "podling.backup")
    made = cli("backup", file, "--database-url", full)
    assert made.code == 0, made.err
    assert made.out.startswith(f"{file}: 0 tasks that have not ended, 0 that have, as of 20")
    restored = cli("restore", file, "--database-url", empty, "--json")
    assert restored.code == 0, restored.err
    report = json.loads(restored.out)
    assert (report["rows"]["live_tasks"], report["live_attempts"]) == (0, 0)
    assert cli("db", "verify", "--database-url", empty).code == 0


def test_an_older_backup_is_replaced_only_by_force(cli: Cli, full: str, tmp_path: Path) -> None:
    file = tmp_path / "podling.backup"
    file.write_text("the only backup of yesterday")
    refused = cli("backup", str(file), "--database-url", full)
    assert (refused.code, f"{file} is there already" in refused.err) == (2, True)
    assert file.read_text() == "the only backup of yesterday"
    assert cli("backup", str(file), "--force", "--database-url", full).code == 0
    assert file.read_bytes().startswith(b"PK")


def test_refusals_are_sentences(cli: Cli, full: str, tmp_path: Path) -> None:
    nothing = cli("restore", str(tmp_path / "nothing"), "--database-url", full)
    assert (nothing.code, "cannot be read: No such file" in nothing.err) == (2, True)
    nowhere = cli("backup", str(tmp_path / "file"))
    assert (nowhere.code, "--database-url" in nowhere.err) == (2, True)
