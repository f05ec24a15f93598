"""What a doctor makes of facts."""

from collections.abc import Iterable
from typing import Any

import pytest

from podling.core.doctor import MOST_OF_ONE_KIND, MOST_SUSPECTS, Cluster, examine_cluster
from podling.core.doctor_database import examine_database
from podling.core.doctor_machine import (
    examine_clock,
    examine_disks,
    examine_engines,
    examine_versions,
    skew,
)
from podling.core.facts import (
    DatabaseFacts,
    DiskFacts,
    EngineFacts,
    InboxDepth,
    OpenTransaction,
    ReplicaFacts,
    StoreFacts,
    TableFacts,
    WaitingTasks,
)
from podling.core.findings import Finding, Severity, in_order
from podling.core.node import NodeStatus
from podling.core.task import Task, TaskStatus
from tests.builders import NOW, at, build_node, build_task

GIB = 2**30
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "idle_in_transaction_session_timeout": "10000",
    "statement_timeout": "10000",
}


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.code) for finding in findings]


def database(**fields: Any) -> DatabaseFacts:
    defaults: dict[str, Any] = {
        "now": NOW,
        "version": 180004,
        "version_name": "18.4",
        "schema_version": 5,
        "known_schema_version": 5,
        "settings": SETTINGS,
        "connections": 20,
        "pool_size": 10,
    }
    return DatabaseFacts(**(defaults | fields))


def cluster(**fields: Any) -> Cluster:
    defaults: dict[str, Any] = {
        "now": NOW,
        "lease_seconds": 12.0,
        "leader": "m1",
        "masters": {"m1": "http://m1"},
        "alive": frozenset({"m1"}),
        "leases": {"http://m1": 12.0},
        "nodes": [build_node(session_no=1, master_id="m1")],
        "live_tasks": [],
        "store": StoreFacts(kind="memory"),
    }
    return Cluster(**(defaults | fields))


def live(status: TaskStatus = TaskStatus.SCHEDULED, age: float = 100, **fields: Any) -> Task:
    defaults = {"node_id": "node-1", "attempt": 1, "scheduled_at": at(-age)}
    return build_task(status=status, **(defaults | fields))


def test_a_sound_cluster_has_no_findings() -> None:
    assert told(examine_cluster(cluster(live_tasks=[live(TaskStatus.RUNNING, 9000), live(age=5)]))) == []
    assert told(examine_database(database(), 3)) == []


def test_every_finding_says_what_it_means_and_what_to_do() -> None:
    offline = build_node(status=NodeStatus.OFFLINE)
    found = [
        *examine_cluster(cluster(leader=None, nodes=[offline], live_tasks=[live()])),
        *examine_database(database(settings=SETTINGS | {"fsync": "off"}, hidden_sessions=2), 1),
    ]
    assert len(found) > 4
    assert all(
        finding.subject and finding.message and finding.meaning and finding.remedy for finding in found
    )


# Masters and nodes


def test_no_leader_and_a_silent_master() -> None:
    masters = {"m1": "http://m1", "m2": "http://m2"}
    found = examine_cluster(cluster(leader=None, masters=masters))
    assert told(found) == [("problem", "no_leader"), ("warning", "master_silent")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": NodeStatus.OFFLINE}, ("warning", "node_offline")),
        ({"unhealthy": "docker: no answer"}, ("problem", "node_unhealthy")),
        ({"cordoned": True}, ("note", "node_cordoned")),
    ],
)
def test_a_node_that_takes_no_work(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    well = build_node("well", session_no=1)
    sick = build_node("sick", session_no=1, **fields)
    assert told(examine_cluster(cluster(nodes=[well, sick]))) == [expected]
    assert ("problem", "no_usable_node") in told(examine_cluster(cluster(nodes=[sick])))


@pytest.mark.parametrize(
    ("age", "severity"), [(None, None), (5.0, None), (60.0, "warning"), (600.0, "problem")]
)
def test_an_inbox_that_nobody_empties(age: float | None, severity: str | None) -> None:
    found = list(examine_cluster(cluster(inbox=InboxDepth(items=7, oldest_seconds=age))))
    assert told(found) == ([(severity, "inbox_not_emptied")] if severity else [])
    *_, alone = examine_cluster(cluster(leader=None, inbox=InboxDepth(items=10_000, oldest_seconds=90.0)))
    assert "10000 or more wait to be taken in, the oldest for 90 s" in alone.message
    assert "start one" in alone.remedy


# Tasks that do not move


@pytest.mark.parametrize(
    ("node", "task", "expected"),
    [
        (None, live(TaskStatus.RUNNING), [("problem", "task_stuck")]),
        (None, live(age=20), []),
        ({"status": NodeStatus.OFFLINE}, live(TaskStatus.RUNNING), [("problem", "task_stuck")]),
        ({"status": NodeStatus.OFFLINE}, live(held="its node is lost"), [("warning", "task_held")]),
        ({"master_id": "gone"}, live(), [("problem", "task_undelivered")]),
        ({"master_id": "gone"}, live(TaskStatus.RUNNING), []),
        ({}, live(age=100), []),
        ({}, live(age=2000), [("warning", "task_slow_start")]),
    ],
)
def test_a_task_that_is_stuck(node: Any, task: Task, expected: Any) -> None:
    one = [] if node is None else [build_node(**({"session_no": 1, "master_id": "m1"} | node))]
    other = build_node("other", session_no=1)
    found = told(examine_cluster(cluster(nodes=[*one, other], live_tasks=[task])))
    assert [item for item in found if item[1].startswith("task")] == expected


def test_masters_with_different_leases_are_a_problem() -> None:
    assert told(examine_cluster(cluster(leases={"http://m1": 12.0, "http://m2": 12.0}))) == []
    (found,) = examine_cluster(cluster(leases={"http://m1": 12.0, "http://m2": 60.0}))
    assert (found.severity, found.code) == (Severity.PROBLEM, "leases_differ")
    assert found.message.endswith("http://m1 has 12, http://m2 has 60")


def test_nobody_is_advised_to_run_a_held_task_again() -> None:
    found = [*examine_cluster(cluster(live_tasks=[live(held="its node is lost")]))]
    (held,) = (finding for finding in found if finding.code == "task_held")
    assert held.command is not None and "resolve" not in held.command
    assert "retry starts it once more, whether it has run or not" in held.remedy


def test_many_of_one_kind_are_counted() -> None:
    many = [live(TaskStatus.RUNNING, node_id="gone") for _ in range(MOST_OF_ONE_KIND + 5)]
    found = list(examine_cluster(cluster(live_tasks=many)))
    assert len(found) == MOST_OF_ONE_KIND + 1
    assert found[-1].message == "5 more tasks like these"


def test_more_than_were_looked_for_are_told_as_such() -> None:
    many = [live(TaskStatus.RUNNING, node_id="gone") for _ in range(MOST_SUSPECTS)]
    assert [*examine_cluster(cluster(live_tasks=many))][-1].message == "at least 980 more tasks like these"


def waiting(age: float) -> WaitingTasks:
    return WaitingTasks(tasks=3, task_id="t", since=at(-age))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"ready": waiting(10)}, []),
        ({"ready": waiting(100)}, [("warning", "task_not_planned")]),
        ({"ready": waiting(1000)}, [("problem", "task_not_planned")]),
        ({"blocked": {"s": waiting(100)}}, []),
        ({"blocked": {"s": waiting(1000)}}, [("warning", "shape_blocked")]),
        ({"failed_lately": 99}, []),
        ({"failed_lately": 100}, [("warning", "many_failed")]),
    ],
)
def test_tasks_that_wait_or_fail(facts: dict[str, Any], expected: Any) -> None:
    assert told(examine_cluster(cluster(store=StoreFacts(kind="memory", **facts)))) == expected


# The database


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "autovacuum"])
def test_a_setting_that_must_be_on(name: str) -> None:
    [finding] = examine_database(database(settings=SETTINGS | {name: "off"}), 1)
    assert (finding.severity, finding.code) == (Severity.PROBLEM, f"setting_{name}")
    assert finding.command is not None
    assert f"ALTER SYSTEM SET {name} = on" in finding.command


@pytest.mark.parametrize(
    ("fields", "masters", "expected"),
    [
        ({"settings": SETTINGS | {"statement_timeout": "0"}}, 1, [("warning", "setting_statement_timeout")]),
        ({"version": 110022}, 1, [("warning", "server_version")]),
        ({"version": 120022}, 1, [("note", "server_version")]),
        ({"version": 190000}, 1, [("warning", "server_version")]),
        ({"schema_version": 6}, 1, [("warning", "schema_version")]),
        ({"connections": 80}, 1, [("warning", "connections")]),
        ({"connections": 96}, 1, [("problem", "connections")]),
        ({}, 9, [("warning", "connections")]),
        (
            {"prepared": ("x",), "idle_slots": ("y",)},
            1,
            [("warning", "prepared_transaction"), ("warning", "idle_slot")],
        ),
        ({"hidden_sessions": 1}, 1, [("note", "hidden_sessions")]),
        ({"replica": ReplicaFacts(where="b", lag_seconds=0.5)}, 1, [("note", "replica_lag")]),
        ({"replica": ReplicaFacts(where="b", lag_seconds=10)}, 1, [("warning", "replica_lag")]),
        ({"replica": ReplicaFacts(where="b", problem="away")}, 1, [("warning", "replica_away")]),
    ],
)
def test_a_database(fields: dict[str, Any], masters: int, expected: Any) -> None:
    assert told(examine_database(database(**fields), masters)) == expected


def transaction(
    seconds: float, state: str = "idle in transaction", holds_back: bool = True
) -> OpenTransaction:
    return OpenTransaction(
        process_id=7, login="ada", application="", state=state, seconds=seconds, holds_back_vacuum=holds_back
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (transaction(30), []),
        (transaction(90), ["warning"]),
        (transaction(900), ["problem"]),
        (transaction(900, holds_back=False), ["warning"]),
        (transaction(90, "active"), []),
        (transaction(900, "active"), ["warning"]),
    ],
)
def test_an_old_transaction(one: OpenTransaction, expected: list[str]) -> None:
    found = list(examine_database(database(transactions=(one,)), 1))
    assert [finding.severity for finding in found] == expected
    assert all(finding.command == "podling db psql -c 'SELECT pg_terminate_backend(7)'" for finding in found)


@pytest.mark.parametrize(
    ("is_superuser", "program"), [("on", "podling db psql"), ("off", "psql -U postgres")]
)
def test_an_administrators_orders_are_given_as_one(is_superuser: str, program: str) -> None:
    settings = {**SETTINGS, "fsync": "off", "is_superuser": is_superuser}
    (found,) = examine_database(database(settings=settings, hidden_sessions=0), 1)
    assert found.command is not None and found.command.startswith(f"{program} -c 'ALTER SYSTEM SET fsync")


@pytest.mark.parametrize(
    ("live_rows", "dead_rows", "found"), [(10, 19_000, 0), (10, 21_000, 1), (9000, 30_000, 0)]
)
def test_bloat(live_rows: int, dead_rows: int, found: int) -> None:
    table = TableFacts(name="live_tasks", live_rows=live_rows, dead_rows=dead_rows, total_bytes=2**20)
    assert len(told(examine_database(database(tables=(table,)), 1))) == found


# Machines


def test_a_clock_is_off_by_what_the_question_cannot_explain() -> None:
    assert skew(at(3), at(1), at(5)) == 0.0
    assert skew(at(9), at(1), at(5)) == 4.0
    assert skew(at(-2), at(1), at(5)) == -3.0


@pytest.mark.parametrize(("ahead", "expected"), [(1.9, []), (-3, ["warning"]), (3600, ["problem"])])
def test_clocks(ahead: float, expected: list[str]) -> None:
    assert [finding.severity for finding in examine_clock("node", "master", ahead)] == expected


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (50 * GIB, 1000 * GIB, []),  # a twentieth, and plenty
        (15 * GIB, 500 * GIB, [("warning", "disk_low")]),
        (GIB, 500 * GIB, [("problem", "disk_full")]),
        (GIB, 4 * GIB, []),
        (0, 0, []),
    ],
)
def test_disks(free: int, total: int, expected: Any) -> None:
    disk = DiskFacts(name="data directory", path="/data", total_bytes=total, free_bytes=free)
    assert told(examine_disks("node", [disk])) == expected


@pytest.mark.parametrize(
    ("version", "problem", "expected"),
    [
        ("20.10.24+dfsg1", None, []),
        ("19.03.1", None, [("warning", "engine_old")]),
        ("dev", None, []),
        (None, "it does not answer", [("problem", "engine_away")]),
    ],
)
def test_engines(version: str | None, problem: str | None, expected: Any) -> None:
    assert (
        told(examine_engines("node", [EngineFacts(name="docker", version=version, problem=problem)]))
        == expected
    )


def test_versions_that_differ() -> None:
    found = examine_versions(
        {"m1": "0.9.0", "m2": "0.10.0"}, {"w1": "0.10.0", "w2": "0.9.0", "w3": "1.0.0", "w4": None}
    )
    assert [finding.subject for finding in found] == ["m1", "w2", "w3"]


def test_the_worst_come_first_and_each_once() -> None:
    found = [
        *examine_cluster(cluster(nodes=[build_node(session_no=1, cordoned=True)])),
        *examine_cluster(cluster(leader=None)),
    ]
    severities = [finding.severity for finding in in_order([*found, *found])]
    assert severities == [Severity.PROBLEM, Severity.PROBLEM, Severity.NOTE]


def test_a_path_in_a_command_is_quoted() -> None:
    disk = DiskFacts(name="data", path="/data; rm -rf $HOME", total_bytes=100, free_bytes=0)
    [finding] = examine_disks("node", [disk])
    assert finding.command is not None
    assert "'/data; rm -rf $HOME'" in finding.command
