"""The command against the real master, which has no worker: everything about tasks that wait."""

import json
import re
import signal
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


def test_a_waiting_task_from_submit_to_cancel(cli: Cli) -> None:
    submitted = cli("run", "first", "busybox:local", "echo", "hi")
    assert submitted.code == 0
    assert submitted.err == "it waits: no node is online\n"
    task_id = submitted.out.strip()
    assert cli("explain", "first").out.startswith("It waits because no node is online.\n")
    assert "submitted to queue default" in cli("timeline", task_id[:18]).out
    assert json.loads(cli("ps", "-t", "first", "--json").out)["taskId"] == task_id
    assert cli("wait", "first", "--timeout", "10ms").code == 124
    assert cli("replay", "first").code == 4
    assert cli("cancel", "first").out == f"{task_id} cancelled\n"
    assert cli("wait", "first").code == 1
    assert cli("logs", "first").out == ""


def test_a_stale_token_is_refused_with_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLING_TOKEN", "from-before-the-restart")
    for command in ("ps", "token"):
        refused = cli(command, *(["list"] if command == "token" else []))
        assert (refused.code, refused.out) == (1, "")
        assert "this master knows no token" in refused.err and "PODLING_TOKEN" in refused.err


def test_every_flag_is_accepted(cli: Cli) -> None:
    line = (
        "run full -i box -e A=1 -p 8080:80 -p 53:53/udp --cpu 500m --memory 256Mi --resource gpu=1 "
        "--label team=a --queue q --priority -5 --max-attempts 3 --timeout 90 --volume data:/data "
        "--tmpfs /tmp:size=1m --workdir /w --user 1000:1000 --entrypoint /bin/x --network none "
        "--runtime docker --node-selector zone=a --constraint disk=ssd,nvme --constraint arch!=arm "
        "--constraint gpu --constraint !old --pull missing --restart on-failure --init "
        "--stop-signal SIGINT --idempotency-key full --queue-timeout 10m --deadline 1h --retry-base 500ms "
        "--retry-on exit:75,TIMEOUT --retry-not-on exit:2 --stop-grace 30 --strategy binpack --spread zone "
        "--affinity zone=a,b:80 --affinity disk!=slow:-5 --affinity gpu --delivery at-least-once "
        "--on-lost hold --on-disconnect keep --max-losses 2 --run-at 2090-01-02T03:04:05Z -- arg"
    )
    first = cli(*line.split())
    assert (first.code, cli(*line.split()).out) == (0, first.out)
    task = json.loads(cli("ps", "-t", "full", "--json").out)
    assert task["command"] == ["/bin/x"]
    assert task["args"] == ["arg"]
    assert task["resources"]["limits"] == {"cpu": 500, "memory": 256 * 2**20}
    assert [rule["operator"] for rule in task["placement"]["constraints"]] == [
        "in",
        "notIn",
        "exists",
        "doesNotExist",
    ]
    listed = json.loads(cli("ps", "--label", "team=a", "--queue", "q", "--status", "pending", "--json").out)
    assert [item["taskId"] for item in listed] == [task["taskId"]]
    assert cli("cancel", "full").code == 0  # the master is shared, and it would be the oldest that waits


def test_the_same_key_for_another_task_is_a_conflict(cli: Cli) -> None:
    assert cli("run", "one", "box", "--idempotency-key", "shared").code == 0
    refused = cli("run", "two", "box", "--idempotency-key", "shared")
    assert refused.code == 4
    assert "was used for another task" in refused.err


def test_what_the_master_refuses_is_told_by_its_field(cli: Cli) -> None:
    refused = cli("run", "bad", "-i", "BAD IMAGE")
    assert refused.code == 2
    assert refused.err.startswith("podling: image: ")


def test_interrupt_cancels_a_task_that_waits(cli: Cli) -> None:
    program = cli.start("run", "endless", "box", "--wait", "-v")
    assert program.stderr is not None
    assert "was submitted" in program.stderr.readline()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "was cancelled" in err
    assert json.loads(cli("ps", "-t", "endless", "--json").out)["status"] == "cancelled"


def test_status_and_nodes(cli: Cli) -> None:
    cli("run", "waiting", "box")
    lines = cli("status").out.splitlines()
    assert re.match(r"Master   \S+, store memory, 1 running, leader http://\S+ \(epoch 1\)", lines[0])
    assert lines[1] == "Nodes    0 online, 0 offline"
    assert "pending" in lines[2]
    assert lines[4].startswith("         It waits because")
    assert json.loads(cli("nodes", "--json").out) == []


def test_pages_are_walked(cli: Cli) -> None:
    ids = {cli("run", f"page-{number}", "box", "--queue", "pages").out.strip() for number in range(3)}
    listed = json.loads(cli("ps", "--queue", "pages", "--all", "--json").out)
    assert {item["taskId"] for item in listed} == ids
    assert len(cli("ps", "--queue", "pages", "--limit", "2").out.splitlines()) == 3


def test_events_are_followed_and_ended_after_so_many(cli: Cli) -> None:
    task_id = cli("run", "watched", "busybox:local", "--label", "team=red").out.strip()
    cli("cancel", task_id)
    told = cli("events", "--since", "10m", "--task", task_id, "-n", "2", "--json")
    assert [json.loads(line)["type"] for line in told.out.splitlines()] == [
        "task.submitted",
        "task.cancelled",
    ]
    told = cli("events", "--since", "10m", "--type", "task.cancelled", "--label", "team in (red)", "-n", "1")
    assert re.search(rf"^[0-9:.]+  task\.cancelled +{task_id}  watched$", told.out.strip()), told.out
    assert cli("events", "--type", "nonsense").code == 2
