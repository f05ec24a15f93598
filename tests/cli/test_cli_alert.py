"""`podling alert`, and `podling run --alert`, against the real master."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory", "--alert-command", "page=/bin/echo paged") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def test_a_rule_from_create_to_delete(cli: Cli) -> None:
    made = cli("alert", "create", "ops", "https://hooks.example.org/x", "--on", "failed,lost")
    assert (made.code, made.err) == (0, "podling alert test ops sends a sample\n")
    first, second = made.out.splitlines()
    assert first == "alert ops tells https://hooks.example.org/x on failed, lost"
    assert second.startswith("its calls are signed with whsec_") and second.endswith("not shown again")
    again = cli("alert", "create", "ops", "https://hooks.example.org/x", "--queue", "q", "--label", "a=b")
    assert "whsec_" not in again.out
    table = cli("alert", "list").out
    assert "queue q a=b" in table and "whsec_" not in table
    (rule,) = json.loads(cli("alert", "list", "--json").out)
    assert (rule["on"], rule["hasSecret"], rule["pending"]) == (["failed"], True, 0)
    assert cli("alert", "delete", "ops").out == "alert ops is deleted\n"
    assert cli("alert", "delete", "ops").code == 3


def test_a_test_shows_the_answer(cli: Cli) -> None:
    assert cli("alert", "create", "page", "command:page", "--named-only").code == 0
    tried = cli("alert", "test", "page")
    assert (tried.code, tried.out, tried.err) == (0, "delivered: exit code 0: paged\n", "")
    assert "tasks that name it" in cli("alert", "list").out
    refused = cli("alert", "create", "far", "http://127.0.0.1:1/")
    assert refused.code != 0 and "127.0.0.1 is no public address" in refused.err
    assert "--alert-hosts" in refused.err
    assert cli("alert", "create", "far", "http://localhost:1/").code == 0
    tried = cli("alert", "test", "far")
    assert tried.code == 1
    assert tried.out.startswith("not delivered: ") and "is no public address" in tried.out
    assert cli("alert", "test", "nobody").code == 3


def test_a_task_names_whom_to_tell(cli: Cli) -> None:
    assert cli("alert", "create", "named", "command:page").code == 0
    line = "run told busybox:local --alert named --alert https://hooks.example.org/x"
    assert cli(*line.split()).code == 0
    task = json.loads(cli("ps", "-t", "told", "--json").out)
    assert [(wish["rule"], wish["http"]) for wish in task["alerts"]] == [
        ("named", None),
        (None, "https://hooks.example.org/x"),
    ]
    refused = cli("run", "untold", "busybox:local", "--alert", "nobody")
    assert refused.code == 2 and "there is no alert rule 'nobody'" in refused.err
    refused = cli("run", "untold", "busybox:local", "--alert", "mailto:me@example.org")
    assert refused.code == 2 and "--smtp-url" in refused.err


@pytest.mark.parametrize("where", ["me@example.org", "ftp://x", "command:", "mailto:", ""])
def test_nowhere_is_refused(cli: Cli, where: str) -> None:
    refused = cli("alert", "create", "ops", where)
    assert refused.code == 2 and "says nowhere to send to" in refused.err
