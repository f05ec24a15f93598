"""`podling dlq` against the real master: tasks that no node takes in time are its dead letters."""

import io
import json
import sys
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[Cli]:
    command = Cli(monkeypatch, url)
    yield command
    command("dlq", "dismiss", "--all", "--yes")


def dead(cli: Cli, *names: str, queue: str = "default") -> list[str]:
    """Have tasks of these names fail; return their ids, the last failed first."""
    found = []
    for name in names:
        shown = cli("run", name, "box", "--queue", queue, "--queue-timeout", "10ms")
        found.append(shown.out.strip())
        assert cli("wait", found[-1], "--timeout", "10s").code == 1
    return found[::-1]


def listed(cli: Cli, *flags: str) -> list[str]:
    return [item["taskId"] for item in json.loads(cli("dlq", "list", "--json", *flags).out)]


def test_they_are_listed_with_reason_and_code(cli: Cli) -> None:
    assert cli("dlq", "list").err == "there are no dead letters\n"
    first = dead(cli, "letter-a", "letter-b", queue="mail")
    second = dead(cli, "letter-c")
    assert listed(cli) == second + first
    assert listed(cli, "--queue", "mail", "--reason", "QUEUE_TIMEOUT") == first
    assert listed(cli, "--error-code", "OOM") == []
    short = cli("dlq", "list", "--limit", "1")
    heading, row = short.out.splitlines()
    assert heading.split() == ["ID", "NAME", "QUEUE", "FAILED", "TRY", "REASON", "CODE", "REMARK"]
    assert row.split()[1:3] == ["letter-c", "default"] and row.count("QUEUE_TIMEOUT") == 2
    assert "the list ends after 1" in short.err
    assert cli("dlq", "list", "--reason", "BAD_LUCK").code == 2


def test_one_is_shown_with_what_to_do(cli: Cli) -> None:
    (task_id,) = dead(cli, "shown")
    shown = cli("dlq", "show", "shown").out
    assert shown.startswith("It failed at ") and "Advice: No node had room for it" in shown
    plain = json.loads(cli("dlq", "show", task_id, "--json").out)
    assert (plain["task"]["taskId"], plain["attempts"]) == (task_id, [])
    assert cli("dlq", "show", "nobody").code == 3


def test_some_are_replayed_by_name(cli: Cli) -> None:
    first, second = dead(cli, "again-a", "again-b")
    shown = cli("dlq", "replay", second, first, "nobody", "--to-queue", "slow", "--run-at", "1h")
    assert shown.code == 3 and shown.err.startswith("podling: nobody: no task has the name")
    made = [json.loads(cli("ps", "-t", new, "--json").out) for new in shown.out.split()]
    assert [(task["replayOf"], task["queue"]) for task in made] == [(second, "slow"), (first, "slow")]
    assert listed(cli) == []


def test_many_are_replayed_by_a_filter_when_that_is_meant(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = dead(cli, "bulk-a", "bulk-b", "bulk-c", queue="mail")
    kept = dead(cli, "bulk-d")
    asked = cli("dlq", "replay", "--queue", "mail")
    assert asked.code == 2
    assert (
        asked.err == "podling: this would replay 3 dead letters of queue mail: say --yes if that is meant\n"
    )
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert cli("dlq", "replay", "--queue", "mail").code == 2
    assert listed(cli) == kept + mail
    limited = cli("dlq", "replay", "--queue", "mail", "--limit", "1", "--run-at", "1h", "--yes", "--json")
    assert [each["taskId"] for each in json.loads(limited.out)["replayed"]] == mail[:1]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert cli("dlq", "replay", "--queue", "mail", "--run-at", "1h").out == "2 replayed\n"
    assert cli("dlq", "replay", "--queue", "mail", "--yes").out == "0 replayed\n"
    assert listed(cli) == kept


def test_they_are_dismissed_by_name_or_all_together(cli: Cli) -> None:
    first, *_ = dead(cli, "gone-a", "gone-b", "gone-c")
    assert cli("dlq", "dismiss", first).out == f"{first} dismissed\n"
    assert "taken off the dead-letter list" in cli("timeline", first).out
    assert cli("dlq", "dismiss", "--all", "--yes").out == "2 dismissed\n"
    assert listed(cli) == []
    waiting = cli("run", "waits", "box").out.strip()
    assert cli("dlq", "dismiss", waiting).code == 4


@pytest.mark.parametrize("verb", ["replay", "dismiss"])
def test_which_ones_are_meant_has_to_be_said(cli: Cli, verb: str) -> None:
    assert cli("dlq", verb, "--yes").code == 2
    assert cli("dlq", verb, "name", "--all", "--yes").code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
