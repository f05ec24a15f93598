"""`podling lock`, `breaker`, `cache` and `idempotency` against the real master."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master

PATIENCE = 30


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def test_a_lock_from_acquire_to_release(cli: Cli) -> None:
    token = cli("lock", "acquire", "k", "--owner", "me").out.strip()
    refused = cli("lock", "acquire", "k", "--wait", "0.01s")
    assert (refused.code, refused.out) == (4, "") and "held by somebody else" in refused.err
    table = cli("lock", "list").out
    assert "me" in table and token in table
    assert cli("lock", "extend", "k", "--token", "99999").code == 4
    assert cli("lock", "extend", "k", "--token", token, "--ttl", "5m").code == 0
    (held,) = json.loads(cli("lock", "list", "--json").out)
    assert held["owner"] == "me"
    assert cli("lock", "release", "k", "--token", "99999").code == 4
    assert cli("lock", "release", "k", "--token", token).out == "lock k is free\n"
    assert cli("lock", "force-release", "k").code == 3
    assert cli("lock", "acquire", "k", "--ttl", "0").code == 2
    assert int(cli("lock", "acquire", "k").out) > int(token)
    assert cli("lock", "force-release", "k").out == "lock k is free\n"


def test_a_command_runs_while_the_lock_is_held(cli: Cli, tmp_path: Path) -> None:
    program = (
        "import os, sys; print(os.environ['PODLING_LOCK_KEY'], os.environ['PODLING_LOCK_TOKEN']); sys.exit(7)"
    )
    with cli.start("lock", "run", "job", "--", sys.executable, "-c", program) as ran:
        out, _ = ran.communicate(timeout=PATIENCE)
    key, token = out.split()
    assert (key, ran.returncode) == ("job", 7)
    again = cli("lock", "acquire", "job")
    assert again.code == 0 and int(again.out) > int(token), "it was released"
    refused = cli("lock", "run", "job", "--", "true")
    assert refused.code == 4
    cli("lock", "force-release", "job")
    assert cli("lock", "run", "job", "--", str(tmp_path / "nothing")).code == 2
    assert json.loads(cli("lock", "list", "--json").out) == []


def test_a_command_ends_when_the_lock_is_lost(cli: Cli) -> None:
    program = "import time; print('runs', flush=True); time.sleep(60)"
    with cli.start("lock", "run", "lost", "--ttl", "0.5s", "--", sys.executable, "-c", program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "runs\n"
        assert cli("lock", "force-release", "lost").code == 0
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1 and "was lost" in err


def test_a_signal_goes_to_the_command_and_the_lock_is_released(cli: Cli) -> None:
    program = "import time; print('runs', flush=True); time.sleep(60)"
    with cli.start("lock", "run", "signalled", "--", sys.executable, "-c", program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "runs\n"
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE)
    assert running.returncode == 128 + signal.SIGTERM
    assert json.loads(cli("lock", "list", "--json").out) == []


def test_a_command_ends_with_the_one_that_holds_its_lock(cli: Cli) -> None:
    program = "import time; print('runs', flush=True); time.sleep(600)"
    with cli.start("lock", "run", "killed", "--", sys.executable, "-c", program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "runs\n"
        running.kill()
        running.communicate(timeout=PATIENCE)  # until nobody can write there any more
    cli("lock", "force-release", "killed")


def test_a_breaker(cli: Cli) -> None:
    assert cli("breaker", "show", "b").out == "breaker b is closed, failures 0\n"
    assert "closed, failures 1" in cli("breaker", "failure", "b", "--max-failures", "2").out
    opened = cli("breaker", "failure", "b", "--max-failures", "2", "--cool-down", "5m")
    assert "open, failures 2" in opened.out
    refused = cli("breaker", "allow", "b")
    assert (refused.code, refused.out) == (1, "open: not for 300 s\n")
    assert "half_open" in cli("breaker", "set", "b", "half-open").out
    assert cli("breaker", "allow", "b").out == "half_open: go ahead\n"
    assert "closed" in cli("breaker", "success", "b").out
    assert "closed" in cli("breaker", "list").out
    assert cli("breaker", "set", "b", "ajar").code == 2


def test_the_cache(cli: Cli) -> None:
    assert cli("cache", "set", "user:1", '{"a": "ü"}', "--ttl", "10m").code == 0
    assert cli("cache", "get", "user:1").out == '{"a": "ü"}\n'
    assert cli("cache", "get", "nobody").code == 3
    assert cli("cache", "set", "k", "text").code == 2, "text is not JSON"
    cli("cache", "set", "other", "null")
    assert cli("cache", "keys").out == "other\nuser:1\n"
    assert json.loads(cli("cache", "keys", "user:*", "--json").out) == ["user:1"]
    assert cli("cache", "stats").out == "2 keys, 1 hits, 1 misses, ratio 0.50\n"
    assert cli("cache", "delete", "other").code == 0 and cli("cache", "delete", "other").code == 3
    assert cli("cache", "prune").out == "0 removed\n"
    assert cli("cache", "clear").out == "1 removed\n"


def test_idempotency(cli: Cli) -> None:
    word, token = cli("idempotency", "claim", "k").out.split()
    assert word == "claimed"
    assert cli("idempotency", "claim", "k").out == "in_progress\n"
    assert cli("idempotency", "get", "k").code == 3
    assert cli("idempotency", "set", "k", "1", "--token", "99999").code == 4
    assert cli("idempotency", "set", "k", "[1]", "--token", token, "--ttl", "1h").code == 0
    assert cli("idempotency", "claim", "k").out == "done [1]\n"
    assert cli("idempotency", "get", "k").out == "[1]\n"
    assert cli("idempotency", "delete", "k").code == 0 and cli("idempotency", "delete", "k").code == 3
