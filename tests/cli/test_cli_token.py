"""`podling token` and `podling audit` against the real master."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling.core.token import SECRET_PATTERN
from tests.cli.conftest import Cli, Result
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture(scope="module")
def admin_file(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the first token, which closes the master to who has none."""
    with pytest.MonkeyPatch.context() as patch:
        made = Cli(patch, url)("token", "create", "ada", "--role", "reader")
    assert made.code == 0 and re.fullmatch(r"podling_admin_[0-9a-f]{64}\n", made.out)
    assert "ada is the first token, so it is an admin's" in made.err
    file = tmp_path_factory.mktemp("token") / "admin"
    file.write_text(made.out)
    file.chmod(0o600)
    return file


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str, admin_file: Path) -> Cli:
    monkeypatch.setenv("PODLING_TOKEN_FILE", str(admin_file))
    return Cli(monkeypatch, url)


def _made(result: Result) -> str:
    assert result.code == 0, result.err
    return result.out.strip()


def test_a_token_from_its_making_to_its_end(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = _made(cli("token", "create", "ci", "--role", "submitter", "--expires", "30d"))
    file = tmp_path / "ci"
    file.write_text(secret)
    file.chmod(0o600)
    assert cli("run", "job", "box", "--token-file", str(file)).code == 0
    refused = cli("token", "list", "--token-file", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "podling: this needs the role admin, and the token ci has submitter\n"
    row = next(line for line in cli("token", "list").out.splitlines() if " ci " in line)
    assert row.split()[1:5] == ["ci", "submitter", "live", "29d"]
    assert cli("token", "revoke", "ci").out.startswith("ci (")
    assert cli("token", "revoke", "ci").code == 0, "it can be said again"
    ended = cli("ps", "--token-file", str(file))
    assert ended.code == 1 and "the token ci was revoked" in ended.err


def test_the_environment_may_hold_the_token_itself(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = _made(cli("token", "create", "environment", "--role", "reader"))
    monkeypatch.delenv("PODLING_TOKEN_FILE")
    assert cli("ps").code == 1
    monkeypatch.setenv("PODLING_TOKEN", secret)
    assert cli("ps").code == 0
    assert cli("cancel", "x").code != 0
    monkeypatch.setenv("PODLING_TOKEN", "two\nlines")
    assert (cli("ps").code, cli("ps").err) == (
        2,
        "podling: PODLING_TOKEN holds no token; it must be one line of plain characters\n",
    )


def test_json_is_what_the_api_gave(cli: Cli) -> None:
    made = json.loads(cli("token", "create", "json", "--role", "operator", "--json").out)
    assert made["role"] == "operator" and SECRET_PATTERN.fullmatch(made["token"])
    listed = cli("token", "list", "--json").out
    assert json.loads(listed)[0]["tokenId"] == made["tokenId"]
    assert not SECRET_PATTERN.search(listed)
    ended = json.loads(cli("token", "revoke", made["tokenId"], "--json").out)
    assert ended["revokedAt"] is not None


def test_the_audit_tells_who_did_what(cli: Cli) -> None:
    task_id = cli("run", "audited", "box").out.strip()
    newest = cli("audit", "--limit", "1")
    heading, line = newest.out.splitlines()
    assert heading.split() == ["AT", "WHO", "FROM", "WHAT", "IDS", "OUTCOME"]
    assert line.split()[1:] == ["ada", "127.0.0.1", "POST", "/tasks", f"taskId={task_id}", "done"]
    assert newest.err == "the list ends after 1; --limit N or --all shows more\n"
    whole = json.loads(cli("audit", "--all", "--json").out)
    assert whole[-1]["actor"] == "local" and whole[-1]["route"] == "/api/v1/tokens"
    made = cli("audit", "--actor", "local", "--action", "POST /tokens", "--outcome", "done", "--since", "1h")
    assert made.out.splitlines()[1].split()[1] == "local" and len(made.out.splitlines()) == 2
    assert json.loads(cli("audit", "--until", "1h", "--json").out) == []
    assert "outcome" in cli("audit", "--outcome", "good").err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "x", "--role", "root"), 2, "'root' is not one of"),
        (("create", "x", "--role", "task"), 2, "'task' is not one of"),
        (("create", "x"), 2, "role: is required"),
        (("create", "x", "--role", "reader", "--expires", "soon"), 2, "--expires"),
        (("create", "ada", "--role", "reader"), 4, "named ada already"),
        (("revoke", "nobody"), 3, "token not found"),
        (("revoke", "ada"), 4, "this is the last admin's token"),
    ],
)
def test_a_refusal_is_a_sentence_and_a_code(
    cli: Cli, arguments: tuple[str, ...], code: int, words: str
) -> None:
    refused = cli("token", *arguments)
    assert refused.code == code
    assert words in refused.err
