"""`podling top` against the real master: in a pipe, for scripts, and on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.conftest import PROGRAM, Cli
from tests.cli.masters import running_master

PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def test_one_look_shows_queues_and_what_limits_them(cli: Cli) -> None:
    cli("queue", "set", "mail", "--max-in-flight", "5")
    cli("queue", "pause", "mail")
    cli("run", "first", "busybox:local")
    cli("cancel", "first")
    looked = cli("top", "--once")
    assert looked.code == 0, looked.err
    lines = looked.out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["Master", "Nodes", "Tasks", "Waiting", "Pace"]
    [heading] = [line for line in lines if line.startswith("QUEUE")]
    [mail] = [line for line in lines if line.startswith("mail")]
    shown = dict(zip(heading.replace("A SECOND", "PACE").split(), mail.split(), strict=True))
    assert (shown["DEPTH"], shown["RUNNING"], shown["LIMIT"], shown["STATE"]) == ("0", "0", "5", "paused")
    found = json.loads(cli("top", "--once", "--json").out)
    [queue] = [queue for queue in found["queues"] if queue["name"] == "mail"]
    assert (queue["maxInFlight"], queue["paused"], queue["successRate"]) == (5, True, None)
    assert found["nodes"] == [] and found["cluster"]["store"] == "memory"


def test_each_look_is_a_line_for_scripts(cli: Cli) -> None:
    with cli.start("top", "--json", "--interval", "200ms") as program:
        assert program.stdout is not None
        looks = [json.loads(program.stdout.readline()) for _ in range(2)]
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE_SECONDS) == 0
    assert looks[0]["at"] < looks[1]["at"]


def test_a_master_that_is_away_is_asked_again(cli: Cli) -> None:
    with running_master("memory") as address:
        other = Cli(cli._monkeypatch, address)
        program = other.start("top", "--interval", "200ms")
        assert program.stdout is not None
        assert program.stdout.readline().startswith("Master")
    with program:
        lines = iter(program.stdout.readline, "")
        assert next(line for line in lines if f"no master answers at {address}" in line)
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE_SECONDS) == 0


def test_a_terminal_is_filled_anew_and_given_back(cli: Cli) -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"PODLING_MASTER_URL": cli.url, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, str(PROGRAM), "top", "--interval", "200ms"]
    with subprocess.Popen(command, stdin=follower, stdout=follower, env=environment) as program:
        os.close(follower)
        written = b""
        try:
            while written.count(b"Pace") < 2:
                written += os.read(leader, 65536)
            program.send_signal(signal.SIGINT)
            while b"\x1b[?1049l" not in written:
                written += os.read(leader, 65536)
            assert program.wait(PATIENCE_SECONDS) == 0
        finally:
            program.kill()
    os.close(leader)
    assert b"\x1b[?1049h" in written


@pytest.mark.parametrize("interval", ["0", "100ms", "soon"])
def test_an_interval_that_means_nothing_is_refused(cli: Cli, interval: str) -> None:
    refused = cli("top", "--interval", interval)
    assert refused.code != 0 and "--interval" in refused.err
