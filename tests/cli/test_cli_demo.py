"""`podling demo`: what it makes, that it makes nothing twice, and that nothing of it goes on."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master
from tests.cli.workers import running_worker

OPEN = ("pending", "scheduled", "running")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        running_master("memory") as address,
        running_worker(address, tmp_path_factory.mktemp("worker"), "process", "--allow-root-processes"),
    ):
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def found(cli: Cli) -> dict[str, dict[str, object]]:
    """Return the newest task of each name."""
    tasks = json.loads(cli("ps", "--all", "--label", "demo=podling", "--json").out)
    return {task["name"]: task for task in reversed(tasks)}


def dead(cli: Cli) -> Counter[str]:
    return Counter(item["deadLetterReason"] for item in json.loads(cli("dlq", "list", "--json").out))


def until_settled(cli: Cli) -> None:
    for name in ("demo-charge-cards", "demo-import-prices", "demo-print-label-2", "demo-quarterly-report"):
        assert cli("wait", name, "--timeout", "30s").code == 1
    for name in ("demo-export-orders", "demo-export-stock"):
        assert cli("wait", name, "--timeout", "30s").code == 0


def test_it_is_filled_once_and_taken_away_and_filled_anew(cli: Cli) -> None:
    made = cli("demo", "fill")
    assert (made.code, made.err) == (0, "")
    assert made.out.splitlines()[0] == "made 3 queues, 3 schedules, 18 tasks"
    assert "podling demo remove" in made.out
    until_settled(cli)
    reasons = {"MAX_ATTEMPTS_EXCEEDED": 2, "QUEUE_TIMEOUT": 2, "DEADLINE": 1}
    assert dead(cli) == reasons
    assert found(cli)["demo-charge-cards"]["attempt"] == 3
    assert cli("explain", "demo-render-the-catalogue").out.startswith("It waits because")
    assert "paused" in cli("explain", "demo-sync-north").out
    schedules = json.loads(cli("cron", "list", "--json").out)
    assert len(schedules) == 3 and all(schedule["paused"] for schedule in schedules)

    assert json.loads(cli("demo", "fill", "--json").out) == {"queues": 0, "schedules": 0, "tasks": 0}
    assert dead(cli) == reasons

    removed = cli("demo", "remove")
    assert removed.out.startswith("11 tasks cancelled, 5 dead letters dismissed, 3 schedules removed\n")
    assert dead(cli) == Counter()
    assert all(task["status"] not in OPEN for task in found(cli).values())
    assert json.loads(cli("cron", "list", "--json").out) == []
    assert "no limits" in cli("queue", "show", "demo-sync").out
    again = json.loads(cli("demo", "remove", "--json").out)
    assert again == {"cancelled": 0, "dismissed": 0, "schedules": 0}

    assert json.loads(cli("demo", "fill", "--json").out) == {"queues": 0, "schedules": 3, "tasks": 16}
    until_settled(cli)
    assert dead(cli) == reasons
    cli("demo", "remove")


def test_without_a_shell_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_master("memory") as address:
        lonely = Cli(monkeypatch, address)
        made = lonely("demo", "fill")
        assert made.out.startswith("made 3 queues, 3 schedules, 14 tasks\n")
        assert "--runtime process" in made.err
        shown = lonely("demo", "fill", "--image", "busybox:local")
        assert (shown.out.splitlines()[0], shown.err) == ("made 0 queues, 0 schedules, 4 tasks", "")
