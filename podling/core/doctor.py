"""Findings about the cluster itself: leader, nodes, and tasks that do not move."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from podling.core.facts import MOST_COUNTED_READY, InboxDepth, StoreFacts, WaitingTasks
from podling.core.findings import Finding, Severity, span
from podling.core.node import Node
from podling.core.task import Task, TaskStatus
from podling.core.value import value

STUCK_LEASES = 3
LEAST_STUCK_SECONDS = 30.0
SLOW_START_SECONDS = 900.0
READY_WARNING_SECONDS, READY_PROBLEM_SECONDS = 60.0, 600.0
BLOCKED_SECONDS = 600.0
INBOX_WARNING_SECONDS, INBOX_PROBLEM_SECONDS = 30.0, 300.0
MOST_COUNTED_IN_INBOX = 10_000
MANY_FAILED = 100
MOST_OF_ONE_KIND = 20
MOST_SUSPECTS = 1000


@value
class Cluster:
    """What the rules look at. `masters` are the ids on record, `alive` those whose counters grow.

    `live_tasks` are those that may be stuck, `MOST_SUSPECTS` at most.
    """

    now: datetime
    lease_seconds: float
    leader: str | None
    masters: Mapping[str, str]  # id: address
    alive: frozenset[str]
    leases: Mapping[str, float]  # of the masters that are alive and tell it, by address
    nodes: Sequence[Node]
    live_tasks: Sequence[Task]
    store: StoreFacts
    inbox: InboxDepth = InboxDepth()


def examine_cluster(cluster: Cluster) -> Iterator[Finding]:
    """Look at leader, masters, nodes and tasks."""
    yield from _masters(cluster)
    yield from _leases(cluster)
    yield from _nodes(cluster)
    yield from _at_most(_live_tasks(cluster), "at least " * (len(cluster.live_tasks) >= MOST_SUSPECTS))
    yield from _waiting(cluster)
    yield from _inbox(cluster)


def patience(lease_seconds: float) -> float:
    """Return for how many seconds a task may wait for its node before it is a finding."""
    return max(lease_seconds * STUCK_LEASES, LEAST_STUCK_SECONDS)


def _at_most(findings: Iterator[Finding], at_least: str) -> Iterator[Finding]:
    """Pass so many of each kind on, and tell how many more there are."""
    more: dict[str, list[Finding]] = {}
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.code] = counts.get(finding.code, 0) + 1
        if counts[finding.code] <= MOST_OF_ONE_KIND:
            yield finding
        else:
            more.setdefault(finding.code, []).append(finding)
    for left in more.values():
        first = left[0]
        yield Finding(
            severity=first.severity,
            code=first.code,
            subject="tasks",
            message=f"{at_least}{len(left)} more tasks like these",
            meaning=first.meaning,
            remedy=first.remedy,
        )


def _masters(cluster: Cluster) -> Iterator[Finding]:
    if cluster.leader is None:
        yield Finding(
            severity=Severity.PROBLEM,
            code="no_leader",
            subject="masters",
            message="no master leads",
            meaning="nothing is planned, retried or expired until one does; running tasks go on",
            remedy="wait a lease and look again; if it stays, look into the masters' logs for `election`",
        )
    for master_id, address in cluster.masters.items():
        if master_id not in cluster.alive:
            yield Finding(
                severity=Severity.WARNING,
                code="master_silent",
                subject=f"master {address}",
                message="it is on record and its counter stands still",
                meaning="it died, hangs, or has no database any more; its workers move on by themselves",
                remedy="look again if it has just started; else look into its log, and start it again",
            )


def _leases(cluster: Cluster) -> Iterator[Finding]:
    if len(set(cluster.leases.values())) > 1:
        told = ", ".join(f"{address} has {seconds:g}" for address, seconds in cluster.leases.items())
        yield Finding(
            severity=Severity.PROBLEM,
            code="leases_differ",
            subject="masters",
            message=f"they count with different --lease-seconds: {told}",
            meaning="a task may be started elsewhere while its worker still counts a longer lease",
            remedy="stop all masters, and start them with the same",
        )


def _nodes(cluster: Cluster) -> Iterator[Finding]:
    for node in cluster.nodes:
        subject = node_name(node)
        if not node.is_online:
            yield _node(
                subject,
                Severity.WARNING,
                "node_offline",
                node.lost_reason or "it is offline",
                "its tasks went where their `onLost` says; it is back as soon as its worker is",
                "start its worker, or take it off the list",
                f"podling node remove {node.node_id}",
            )
        elif node.unhealthy is not None:
            yield _node(
                subject,
                Severity.PROBLEM,
                "node_unhealthy",
                node.unhealthy,
                "it is online and gets no new work",
                "mend what it says, on that machine; it takes work again by itself",
            )
        elif node.cordoned:
            yield _node(
                subject,
                Severity.NOTE,
                "node_cordoned",
                "it is cordoned",
                "it gets no new work, because somebody said so",
                "let it work again when you are done",
                f"podling node uncordon {node.node_id}",
            )
    if cluster.nodes and not any(node.is_schedulable for node in cluster.nodes):
        yield _node(
            "nodes",
            Severity.PROBLEM,
            "no_usable_node",
            "no node takes new work",
            "every new task waits",
            "see what is said about each of them",
            "podling nodes",
        )


def node_name(node: Node) -> str:
    return f"node {node.hostname} ({node.node_id})"


def _node(
    subject: str, severity: Severity, code: str, message: str, meaning: str, remedy: str, command: str = ""
) -> Finding:
    return Finding(
        severity=severity,
        code=code,
        subject=subject,
        message=message,
        meaning=meaning,
        remedy=remedy,
        command=command or None,
    )


def _live_tasks(cluster: Cluster) -> Iterator[Finding]:
    nodes = {node.node_id: node for node in cluster.nodes}
    long = patience(cluster.lease_seconds)
    for task in cluster.live_tasks:
        age = (cluster.now - (task.scheduled_at or task.created_at)).total_seconds()
        node = nodes.get(task.node_id or "")
        if task.held is not None:
            yield _task(
                task,
                Severity.WARNING,
                "task_held",
                task.held,
                "it waits for its node, or for you: whether it ran, or still runs there, is not known",
                "bring its node back, or find out what became of it and say so with podling resolve: "
                "completed, failed or cancelled; retry starts it once more, whether it has run or not",
                f"podling timeline {task.task_id}",
            )
        elif age > long and (node is None or not node.is_online):
            where = (
                "a node that is not there any more"
                if node is None
                else f"{node_name(node)}, which is offline"
            )
            yield _task(
                task,
                Severity.PROBLEM,
                "task_stuck",
                f"it is {task.status} on {where}",
                "the leader should have moved it on by now",
                "look into the leader's log for `node monitor`; cancelling ends it",
                f"podling cancel {task.task_id}",
            )
        elif age > long and node is not None and task.status is TaskStatus.SCHEDULED:
            yield from _not_started(cluster, task, node, age)


def _not_started(cluster: Cluster, task: Task, node: Node, age: float) -> Iterator[Finding]:
    if node.master_id not in cluster.alive:
        yield _task(
            task,
            Severity.PROBLEM,
            "task_undelivered",
            f"it has been scheduled on {node_name(node)} for {span(age)}, and no master has its session",
            "its worker has not heard of it",
            "restart that worker; its containers go on",
        )
    elif age > SLOW_START_SECONDS:
        yield _task(
            task,
            Severity.WARNING,
            "task_slow_start",
            f"it has been scheduled on {node_name(node)} for {span(age)} and does not run",
            "its image is still being fetched, or its engine is slow",
            "look at what it waits for",
            f"podling explain {task.task_id}",
        )


def _task(
    task: Task, severity: Severity, code: str, message: str, meaning: str, remedy: str, command: str = ""
) -> Finding:
    subject = f"task {task.spec.name} ({task.task_id})"
    return _node(subject, severity, code, message, meaning, remedy, command)


def _waiting(cluster: Cluster) -> Iterator[Finding]:
    if (ready := cluster.store.ready) is not None:
        age = (cluster.now - ready.since).total_seconds()
        if age > READY_WARNING_SECONDS:
            yield _node(
                f"task {ready.task_id}",
                Severity.PROBLEM if age > READY_PROBLEM_SECONDS else Severity.WARNING,
                "task_not_planned",
                f"it has been ready for {span(age)}, the longest of {_counted(ready.tasks)}",
                "the planner has not come to it: there are too many before it, or it does not run",
                "look at what it waits for, and whether a master leads",
                f"podling explain {ready.task_id}",
            )
    for blocked in list(cluster.store.blocked.values())[:MOST_OF_ONE_KIND]:
        yield from _blocked(cluster.now, blocked)
    if cluster.store.failed_lately >= MANY_FAILED:
        yield _node(
            "tasks",
            Severity.WARNING,
            "many_failed",
            f"{cluster.store.failed_lately} tasks of the last day have failed for good",
            "something they share may be broken",
            "look at why, and replay what shall run again",
            "podling ps --status failed",
        )


def _inbox(cluster: Cluster) -> Iterator[Finding]:
    age, items = cluster.inbox.oldest_seconds, cluster.inbox.items
    if age is not None and age > INBOX_WARNING_SECONDS:
        number = f"{items} or more" if items >= MOST_COUNTED_IN_INBOX else str(items)
        behind = "it is behind, or cannot read or store them; its log says `inbox`"
        yield _node(
            "inbox",
            Severity.PROBLEM if age > INBOX_PROBLEM_SECONDS else Severity.WARNING,
            "inbox_not_emptied",
            f"of what came by SQL {number} wait to be taken in, the oldest for {span(age)}",
            f"tasks and cancels left there have no effect until a leader takes them in; {behind}"
            if cluster.leader
            else "tasks and cancels left there have no effect until a master leads, and none does",
            "look into the leader's log and at its load (podling top); submit less at a time meanwhile"
            if cluster.leader
            else "have a master lead: start one, or look into the masters' logs for `election`",
        )


def _counted(tasks: int) -> str:
    return f"{tasks} or more" if tasks >= MOST_COUNTED_READY else str(tasks)


def _like_it(others: int) -> str:
    return f", nor have {others} like it" if others else ""


def _blocked(now: datetime, blocked: WaitingTasks) -> Iterator[Finding]:
    age = (now - blocked.since).total_seconds()
    if age > BLOCKED_SECONDS:
        yield _node(
            f"task {blocked.task_id}",
            Severity.WARNING,
            "shape_blocked",
            f"it has fitted on no node for {span(age)}{_like_it(blocked.tasks - 1)}",
            "they wait until a node gains what they lack",
            "see what every node lacks, and add it or ask for less",
            f"podling explain {blocked.task_id}",
        )
