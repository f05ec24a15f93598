"""nodes, node, status, dev, db, completion."""

import json
import sys
import time
from types import SimpleNamespace

import pytest

from podling.cli.node import SETTLED_SECONDS
from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster, Json


def node(node_id: str, **more: object) -> Json:
    return {
        "nodeId": node_id,
        "hostname": f"host-{node_id}",
        "status": "online",
        "capacity": 10,
        "runningTasks": 2,
        "lastHeartbeat": "2026-01-01T00:00:00Z",
        "resources": {
            "capacity": {"cpu": 4000, "memory": 2**33},
            "allocatable": {"cpu": 4000, "memory": 2**33},
            "used": {"cpu": 1500, "memory": 2**28},
        },
        "labels": {"zone": "a"},
        "cordoned": False,
        "unhealthy": None,
        "lostReason": None,
    } | more


def test_nodes_show_what_is_in_use(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("n1"), node("n2", cordoned=True), node("n3", status="offline", lostReason="silent")]
    _, first, second, third = cli("nodes").out.splitlines()
    assert first.split()[:6] == ["n1", "host-n1", "online", "2/10", "1.5/4", "256Mi/8Gi"]
    assert second.split()[2] == "cordoned"
    assert third.split()[2] == "offline"
    assert "silent" in third


def test_nodes_json(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("n1")]
    assert json.loads(cli("nodes", "--json").out) == master.nodes


def test_node_verbs_take_an_id_a_prefix_or_a_host(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("alpha"), node("beta")]
    assert cli("node", "cordon", "host-alpha").out == "alpha takes no new work\n"
    assert master.nodes[0]["cordoned"]
    assert cli("node", "uncordon", "al").code == 0
    assert not master.nodes[0]["cordoned"]
    assert cli("node", "remove", "beta", "--lost", "--yes").code == 0
    assert [left["nodeId"] for left in master.nodes] == ["alpha"]


def test_drain_says_what_is_left_and_waits_on_request(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("n1")]
    assert cli("node", "drain", "n1").out == "n1 takes no new work; 2 tasks are left\n"
    assert cli("nodes").out.splitlines()[1].split()[2] == "draining"
    master.on_read_node = lambda read: read.update(runningTasks=max(0, read["runningTasks"] - 1))
    assert cli("node", "drain", "n1", "--deadline", "2m", "--wait").out == "n1 is drained\n"
    assert master.nodes[0]["drain"] == {"deadlineSeconds": 120.0}
    assert cli("nodes").out.splitlines()[1].split()[2] == "drained"


def test_a_drain_is_over_when_nothing_more_comes(cli: Cli, master: FakeMaster) -> None:
    """The leader may have planned there before it knew."""
    master.nodes = [node("n1", runningTasks=0)]
    counts = [0, 1, 0]
    master.on_read_node = lambda read: read.update(runningTasks=counts.pop(0) if counts else 0)
    began = time.monotonic()
    assert cli("node", "drain", "n1", "--wait", "--timeout", "20").out == "n1 is drained\n"
    assert counts == [] and time.monotonic() - began >= SETTLED_SECONDS


def test_a_drain_is_not_waited_for_for_ever(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("n1")]
    shown = cli("node", "drain", "n1", "--wait", "--timeout", "0")
    assert (shown.code, shown.err) == (124, "podling: n1 takes no new work; 2 tasks are left after 0 s\n")
    master.on_read_node = lambda read: read.update(drain=None)
    ended = cli("node", "drain", "n1", "--wait")
    assert (ended.code, "in service again" in ended.err) == (4, True)
    assert cli("node", "drain", "n1", "--timeout", "5").code == 2


def test_a_node_that_left_the_list_can_be_given_up_again(cli: Cli, master: FakeMaster) -> None:
    master.leftovers = {"n1"}
    assert cli("node", "remove", "n1").code == cli("node", "remove", "n2", "--lost").code == 3
    assert cli("node", "remove", "n1", "--lost", "--held", "failed").out == "n1 is removed\n"


def test_a_dead_node_is_removed_on_an_operators_word(cli: Cli, master: FakeMaster) -> None:
    master.nodes = [node("n1")]
    refused = cli("node", "remove", "n1")
    assert (refused.code, refused.err) == (4, "podling: the node still has tasks\n")
    unsure = cli("node", "remove", "n1", "--lost", "--held", "retry")
    assert (unsure.code, "was heard of within the last lease" in unsure.err) == (4, True)
    assert len(master.nodes) == 1
    master.nodes[0]["status"] = "offline"
    assert cli("node", "remove", "n1", "--lost", "--held", "retry").code == 0
    assert master.requests[-1]["query"] == {"lost": "true", "held": "retry"}
    assert master.nodes == []


def test_no_such_node(cli: Cli, master: FakeMaster) -> None:
    shown = cli("node", "cordon", "nowhere")
    assert (shown.code, shown.err) == (3, "podling: node not found\n")


def test_status_in_a_few_lines(cli: Cli, master: FakeMaster) -> None:
    master.cluster = {
        "version": "1.2.3",
        "store": "postgres",
        "leader": "m1",
        "epoch": 7,
        "masters": [{"masterId": "m1", "advertiseUrl": "http://one"}, {"masterId": "m2"}],
        "tasks": {"pending": 2, "running": 1, "failed": 0},
    }
    master.nodes = [node("n1"), node("n2", status="offline")]
    oldest = master.add_task("first")
    master.add_task("second")
    master.explanations[oldest["taskId"]] = {"summary": "no node has room"}
    lines = cli("status").out.splitlines()
    assert lines[0] == "Master   1.2.3, store postgres, 2 running, leader http://one (epoch 7)"
    assert lines[1] == "Nodes    1 online, 1 offline"
    assert lines[2] == "Tasks    2 pending, 1 running"
    assert lines[3].startswith(f"Oldest   first ({oldest['taskId']}), pending for ")
    assert lines[4] == "         no node has room"


MASTERS: list[Json] = [
    {
        "masterId": "m1",
        "advertiseUrl": "http://one",
        "version": "1.2.3",
        "leader": True,
        "epoch": 7,
        "alive": True,
        "beatAgeSeconds": 0.4,
        "nodes": 12,
    },
    {"masterId": "m2", "advertiseUrl": "http://two", "version": "1.2.2", "leader": False, "alive": True},
    {"masterId": "m3", "advertiseUrl": "http://three", "alive": False, "beatAgeSeconds": 301.0, "nodes": 0},
]


def test_masters_show_who_leads_and_who_has_fallen_silent(cli: Cli, master: FakeMaster) -> None:
    master.cluster = {"masters": MASTERS}
    _, first, second, third = (line.split() for line in cli("masters").out.splitlines())
    assert first == ["m1", "http://one", "leads", "7", "1.2.3", "0s", "12"]
    assert second == ["m2", "http://two", "follows", "-", "1.2.2", "-", "-"]
    assert third == ["m3", "http://three", "silent", "-", "-", "5m", "0"]
    assert json.loads(cli("masters", "--json").out) == MASTERS


def test_status_tells_silent_masters_apart(cli: Cli, master: FakeMaster) -> None:
    master.cluster = {"version": "1.2.3", "store": "postgres", "leader": "m1", "epoch": 7, "masters": MASTERS}
    told = cli("status").out.splitlines()[0]
    assert told == "Master   1.2.3, store postgres, 2 running, 1 silent, leader http://one (epoch 7)"


def test_status_of_an_empty_cluster(cli: Cli, master: FakeMaster) -> None:
    lines = cli("status").out.splitlines()
    assert lines[1:] == ["Nodes    0 online, 0 offline", "Tasks    none"]


def test_dev_passes_everything_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "podling.boot.dev", SimpleNamespace(main=lambda argv: seen.append(argv)))
    assert cli("dev", "--port", "0", "--help", "x").code == 0
    assert seen == [["--port", "0", "--help", "x"]]


class Schema:
    """Answers `podling db` by the name of the database."""

    def install(self, url: str, broker_names: bool) -> Json:
        return self.verify(f"{url} with broker names" if broker_names else url)

    def verify(self, url: str) -> Json:
        return {
            "server_version": "15.1",
            "database": url,
            "schema": "public",
            "version": 1,
            "applied": ["0001_tasks"],
            "pending": ["0002_nodes"] if url == "old" else [],
            "problems": ["the index x is not valid"] if url == "broken" else [],
        }


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podling.boot.cli._Schema", Schema)


@pytest.mark.usefixtures("schema")
def test_db_tells_whether_something_has_to_be_done(cli: Cli) -> None:
    sound = cli("db", "verify", "--database-url", "new")
    assert sound.code == 0
    assert sound.out.startswith(
        "PostgreSQL 15.1, database new, schema public, version 1: 1 migrations applied\n"
    )
    old = cli("db", "verify", "--database-url", "old")
    assert (old.code, "0002_nodes; run podling db migrate" in old.out) == (1, True)
    broken = cli("db", "verify", "--database-url", "broken", "--json")
    assert (broken.code, json.loads(broken.out)["problems"]) == (1, ["the index x is not valid"])


@pytest.mark.usefixtures("schema")
def test_db_install_does_what_it_is_told_and_no_more(cli: Cli) -> None:
    assert "with broker names" in cli("db", "install", "--database-url", "new", "--broker-names").out
    assert "with broker names" not in cli("db", "install", "--database-url", "new").out
    checked = cli("db", "install", "--verify-only", "--database-url", "old")
    assert (checked.code, "0002_nodes" in checked.out) == (1, True)
    refused = cli("db", "install", "--verify-only", "--broker-names", "--database-url", "new")
    assert (refused.code, "--verify-only changes nothing" in refused.err) == (2, True)


def test_db_install_prints_a_script_and_needs_no_database(cli: Cli) -> None:
    plain, more = cli("db", "install", "--script"), cli("db", "install", "--script", "--broker-names")
    assert (plain.code, plain.err) == (0, "") and "CREATE TABLE inbox (" in plain.out
    assert "broker_add_job" not in plain.out and "FUNCTION broker_add_job(" in more.out


@pytest.mark.usefixtures("schema")
def test_db_needs_a_database(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = cli("db", "verify")
    assert refused.code == 2
    assert "--database-url" in refused.err
    monkeypatch.setenv("DATABASE_URL", "new")
    assert cli("db", "verify").code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(cli: Cli, shell: str) -> None:
    assert "_PODLING_COMPLETE" in cli("completion", shell).out


def test_the_script_of_completion_gets_the_commands(cli: Cli) -> None:
    program = cli.start(_PODLING_COMPLETE="complete_bash", COMP_WORDS="podling ti", COMP_CWORD="1")
    out, _ = program.communicate(timeout=20)
    assert out.split() == ["timeline"]
