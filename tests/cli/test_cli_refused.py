"""Submits that a queue refuses, as its runbook goes through them, against the real master."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from podling import Client
from tests.cli.conftest import Cli
from tests.cli.masters import running_master


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def test_who_submits_too_much_is_told_to_wait_and_an_operator_sees_it(cli: Cli, url: str) -> None:
    with Client(url) as client:
        client.save_queue("mail", maxSubmitsPerMinute=1)
    shown = [cli("run", "job", "box", "--queue", "mail") for _ in range(4)]
    refused = [each for each in shown if each.code]
    assert len(refused) >= 2 and {each.code for each in refused} == {5}
    assert refused[0].err.startswith("podling: queue mail takes at most 1 a minute")
    row = cli("decisions", "--incoming", "--code", "ENQUEUE_RATE_EXCEEDED").out.splitlines()[1]
    assert "queues.mail.maxSubmitsPerMinute" in row and "submit" in row
    with Client(url) as client:
        client.save_queue("mail")
    assert cli("run", "job", "box", "--queue", "mail").code == 0


def test_what_is_too_large_says_so_and_an_import_lists_it(cli: Cli, url: str, tmp_path: Path) -> None:
    with Client(url) as client:
        client.save_queue("etl", maxPayloadBytes=300)
    large = cli("run", "job", "box", "--queue", "etl", "-e", "DATA=" + "x" * 500)
    assert large.code == 2 and "queue etl takes 300 at most" in large.err
    file = tmp_path / "tasks"
    spec = {"taskId": "old", "name": "job", "image": "box", "queue": "etl", "env": {"DATA": "x" * 500}}
    file.write_text(json.dumps(spec) + "\n")
    assert cli("import", str(file)).code == 1
    doors = {each["door"] for each in json.loads(cli("decisions", "--incoming", "--json").out)}
    assert {"submit", "batch"} <= doors
