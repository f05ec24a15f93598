"""`podling run --after`, against the real master."""

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


def test_a_task_starts_after_another(cli: Cli) -> None:
    parent = cli("run", "first", "-i", "busybox:local").out.strip()
    made = cli("run", "second", "-i", "busybox:local", "--after", "first", "--after", f"{parent}:always")
    assert made.code != 0 and f"names {parent} twice" in made.err
    made = cli("run", "second", "-i", "busybox:local", "--after", "first:failure", "--json")
    assert json.loads(made.out)["dependsOn"] == [{"taskId": parent, "when": "failure"}]
    assert f"task {parent} has to fail first" in cli("ps").out.replace("\n", " ")
    assert f"It waits for task {parent} to fail, which is pending." in cli("explain", "second").out


def test_what_is_waited_for_has_to_be_there(cli: Cli) -> None:
    wrong = cli("run", "job", "-i", "busybox:local", "--after", "nobody")
    assert wrong.code == 3
    wrong = cli("run", "job", "-i", "busybox:local", "--after", "first:soon")
    assert wrong.code == 2 and "--after" in wrong.err
