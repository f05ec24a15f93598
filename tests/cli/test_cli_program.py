"""The program as a whole: settings, errors, exit codes, and what it imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from podling.cli.app import COMMANDS, load
from podling.cli.status import STATES
from podling.client import Client
from podling.client.program import ENDED
from podling.core.errors import Unavailable
from podling.core.task import TERMINAL, TaskStatus
from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster

UNUSED_PORT_URL = "http://127.0.0.1:9"  # discard: nothing listens there


def test_no_master_is_one_sentence_with_the_way_out(cli: Cli) -> None:
    shown = cli("--master", UNUSED_PORT_URL, "ps")
    assert shown.code == 5
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "podling dev" in shown.err
    assert "--master URL" in shown.err
    assert UNUSED_PORT_URL in shown.err


def test_the_library_speaks_of_arguments_and_not_of_flags() -> None:
    with pytest.raises(Unavailable, match="give the `url`") as caught, Client(UNUSED_PORT_URL) as client:
        client.cluster()
    assert "--" not in caught.value.message


def test_a_second_master_answers_for_the_first(cli: Cli, master: FakeMaster) -> None:
    master.add_task("hello")
    assert "hello" in cli("ps", "--master", f"{UNUSED_PORT_URL},{master.url}").out


def test_something_that_is_no_master_is_told(cli: Cli, master: FakeMaster) -> None:
    master.faults = [(200, {"hello": "world"}, {})]
    shown = cli("ps")
    assert shown.code == 1
    assert "not a Podling master" in shown.err


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "invalid_field", 2),
        (401, "unauthorized", 1),
        (403, "policy_denied", 1),
        (404, "task_not_found", 3),
        (409, "conflict", 4),
        (429, "too_many_requests", 5),
        (500, "internal", 1),
        (503, "store_unavailable", 5),
    ],
)
def test_a_refusal_is_its_sentence_and_an_exit_code(
    cli: Cli, master: FakeMaster, status: int, code: str, exit_code: int
) -> None:
    master.faults = [(status, {"error": "it is\x07 so", "code": code, "details": {"field": "x"}}, {})]
    shown = cli("nodes", "-v")
    assert shown.code == exit_code
    assert shown.err == f"podling: it is\\x07 so\npodling: code {code}, field x\n"


def test_a_bug_is_one_sentence_unless_verbose(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [{"unexpected": True}]
    shown = cli("nodes")
    assert shown.code == 1
    assert shown.err.count("\n") == 1
    assert "this is a bug in podling (KeyError" in shown.err
    assert "Traceback" in cli("nodes", "--verbose").err


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_token_file_that_others_can_read_is_told(
    cli: Cli, tmp_path: Path, mode: int, is_told: bool
) -> None:
    path = tmp_path / "token"
    path.write_text("secret-token\n")
    path.chmod(mode)
    shown = cli("nodes", "--token-file", str(path))
    assert shown.code == 0
    assert (f"chmod 600 {path}" in shown.err) == is_told
    assert "secret-token" not in shown.err


def test_a_token_is_sent(cli: Cli, master: FakeMaster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    cli("nodes", "--token-file", str(tmp_path / "token"))
    assert master.requests[0]["headers"]["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize("content", ["", "two\nlines", "tøken"])
def test_a_broken_token_file_is_refused(cli: Cli, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    shown = cli("nodes", "--token-file", str(tmp_path / "token"))
    assert shown.code == 2
    assert "holds no token" in shown.err


def test_a_config_file_is_the_weakest_setting(cli: Cli, master: FakeMaster, tmp_path: Path) -> None:
    config = tmp_path / "podling.conf"
    config.write_text(f"# mine\n\nmaster = {UNUSED_PORT_URL}\nPODLING_JSON=true\n")
    shown = cli("nodes", "--config", str(config))
    assert (shown.code, json.loads(shown.out)) == (0, [])


def test_the_config_file_names_the_master(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "podling.conf"
    config.write_text(f"PODLING_MASTER_URL = '{cli.url}'\n")
    cli.url = ""
    assert cli("nodes", "--config", str(config)).code == 0


@pytest.mark.parametrize(("line", "told"), [("colour = red", "'colour' in "), ("master", "line 2")])
def test_a_wrong_line_of_the_config_file_is_named(cli: Cli, tmp_path: Path, line: str, told: str) -> None:
    config = tmp_path / "podling.conf"
    config.write_text(f"\n{line}\n")
    shown = cli("nodes", "--config", str(config))
    assert shown.code == 2
    assert told in shown.err


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://host:port", "http://host/else/where"])
def test_a_wrong_address_is_refused(cli: Cli, url: str) -> None:
    shown = cli("--master", url, "ps")
    assert shown.code == 2
    assert "is not the address of a master" in shown.err


@pytest.mark.parametrize("arguments", [["--nope"], ["nope"], ["ps", "--nope"], ["explain"], ["node", "nope"]])
def test_wrong_usage_is_exit_code_2(cli: Cli, arguments: list[str]) -> None:
    shown = cli(*arguments)
    assert shown.code == 2
    assert shown.err != ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_and_the_global_options(cli: Cli, name: str) -> None:
    assert load(name).help
    if name != "dev":
        shown = cli(name, "--help")
        assert shown.code == 0
        assert "--json" in shown.out


def test_a_reader_that_goes_away_ends_it_quietly(cli: Cli, master: FakeMaster) -> None:
    for number in range(400):
        master.add_task(f"{number}-{'x' * 200}")
    program = cli.start("ps", "--all")
    assert program.stdout is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == ""
    assert program.wait(20) == 141


def imported(code: str, *names: str) -> set[str]:
    """Run the code in a fresh interpreter; return which of the modules it imported."""
    script = f"import sys\n{code}\nprint('MODULES', *[n for n in {names!r} if n in sys.modules])"
    program = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    return set(program.stdout.rpartition("MODULES")[2].split())


def test_the_version_needs_next_to_nothing() -> None:
    call = "from podling.boot.cli import main; main(['--version'])"
    heavy = ("typer", "rich", "aiohttp", "pydantic", "asyncio", "http.client", "json", "sys")
    assert imported(call, *heavy) == {"sys"}


@pytest.mark.parametrize("arguments", [["ps"], ["nodes"], ["run", "x", "box"], ["ps", "--help"]])
def test_a_command_imports_nothing_heavy(master: FakeMaster, arguments: list[str]) -> None:
    master.add_task("hello")
    call = f"from podling.boot.cli import main; main(['--master', {master.url!r}, *{arguments!r}])"
    heavy = ("aiohttp", "pydantic", "asyncio", "orjson", "podling.store", "podling.master", "rich", "typer")
    assert imported(call, *heavy) == {"typer"}


def test_the_states_are_the_cores() -> None:
    assert set(ENDED) == set(TERMINAL)
    assert tuple(STATES) == tuple(TaskStatus)
