"""`podling queue`, and `podling run --concurrency-key`, against the real master."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def test_limits_are_set_one_by_one_and_taken_off(cli: Cli) -> None:
    made = cli("queue", "set", "etl", "--max-in-flight", "5", "--throttle-delay", "0.5")
    assert made.out == "queue etl: 0 running, maxInFlight 5, throttleDelaySeconds 0.5\n"
    more = cli("queue", "set", "etl", "--max-per-minute", "60", "--max-in-flight", "off")
    assert more.out == "queue etl: 0 running, maxPerMinute 60, throttleDelaySeconds 0.5\n"
    assert cli("queue", "show", "etl").out == more.out
    assert json.loads(cli("queue", "show", "etl", "--json").out)["maxPerMinute"] == 60
    assert "etl" in cli("queue", "list").out
    assert json.loads(cli("queue", "set", "etl", "--ageing", "5m", "--json").out)["ageingSeconds"] == 300
    assert "a letter or digit at both ends" in cli("queue", "set", "not one").err
    wrong = cli("queue", "set", "etl", "--weight", "much")
    assert wrong.code != 0 and "--weight: 'much'" in wrong.err


def test_a_queue_is_paused_and_goes_on(cli: Cli) -> None:
    cli("queue", "set", "mail")
    assert cli("queue", "pause", "mail").out == "queue mail: paused, 0 running, no limits\n"
    assert "paused" in cli("queue", "list").out
    assert cli("queue", "resume", "mail").out == "queue mail: 0 running, no limits\n"
    assert cli("queue", "pause", "nowhere").code == 3


def test_a_task_has_a_concurrency_key(cli: Cli) -> None:
    made = cli("run", "job", "-i", "busybox:local", "--concurrency-key", "db-1", "--json")
    assert json.loads(made.out)["concurrencyKey"] == "db-1"


def test_a_queue_is_removed_when_its_tasks_have_ended(cli: Cli) -> None:
    cli("queue", "set", "mail", "--max-in-flight", "1")
    task_id = cli("run", "once", "-i", "busybox:local", "--queue", "mail").out.strip()
    refused = cli("queue", "remove", "mail")
    assert refused.code == 4
    assert "queue mail still has tasks that have not ended, 1 of them" in refused.err
    cli("cancel", task_id)
    assert cli("queue", "remove", "mail").out == "queue mail is removed\n"
    assert cli("queue", "show", "mail").code == 3
