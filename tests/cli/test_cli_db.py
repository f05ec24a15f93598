"""`podling db psql`: psql on any address that Podling itself takes."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.postgres_servers import PostgresServer

WHO = ("db", "psql", "-At", "-c", "SELECT current_setting('is_superuser')")
PATIENCE_SECONDS = 60


@pytest.fixture
def embedded(tmp_path: Path) -> str:
    tmp_path.chmod(0o755)
    return f"embedded:{tmp_path / 'postgres'}"


def test_psql_reaches_an_embedded_database(cli: Cli, embedded: str) -> None:
    child = cli.start(*WHO, DATABASE_URL=embedded)
    out, err = child.communicate(timeout=PATIENCE_SECONDS)
    assert (child.returncode, out, err) == (0, "on\n", "")


def test_psql_takes_its_own_options_and_gives_its_exit_code(
    cli: Cli, postgres_server: PostgresServer
) -> None:
    there = cli.start(*WHO, "--database-url", postgres_server.dsn)
    out, _ = there.communicate(timeout=PATIENCE_SECONDS)
    assert (there.returncode, out) == (0, "on\n")
    broken = cli.start("db", "psql", "-c", "SELECT 1/0", DATABASE_URL=postgres_server.dsn)
    _, err = broken.communicate(timeout=PATIENCE_SECONDS)
    assert (broken.returncode, "division by zero" in err) == (1, True)


def test_its_password_is_not_among_its_arguments(cli: Cli, postgres_server: PostgresServer) -> None:
    asks = r"\! tr '\0' '\n' </proc/$PPID/cmdline"
    child = cli.start("db", "psql", "-X", "-c", asks, DATABASE_URL=postgres_server.dsn)
    out, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert "--dbname=postgresql://postgres@" in out
