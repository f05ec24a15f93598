"""Values with sensible defaults, so that a test names only what it is about."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from podling.core.lifecycle import Assign, Event, Reported, Transition, apply
from podling.core.node import Node, NodeStatus
from podling.core.protocol import Report, ReportKind
from podling.core.spec import ContainerSpec, Dependency, TaskSpec, When
from podling.core.task import NEVER, Task, TaskStatus
from podling.store.base import Batch, Master, TaskWrite

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

_SPEC_FIELDS = frozenset(TaskSpec.__dataclass_fields__)
_serial = count(1)


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)


def at(amount: float) -> datetime:
    """Return the moment so many seconds after NOW."""
    return NOW + seconds(amount)


def build_spec(**fields: Any) -> TaskSpec:
    defaults: dict[str, Any] = {"name": "job", "containers": (ContainerSpec(image="busybox:local"),)}
    return TaskSpec(**(defaults | fields))


def build_task(**fields: Any) -> Task:
    """Return a pending task with an id of its own; fields of its spec may be given directly."""
    spec_fields = {name: fields.pop(name) for name in _SPEC_FIELDS & fields.keys()}
    # The task's own run_at is the one that counts; the spec only keeps what was asked for.
    run_at = spec_fields.get("run_at")
    created_at = fields.pop("created_at", NOW)
    task_fields: dict[str, Any] = {
        "task_id": f"task-{next(_serial):06}",
        "spec": build_spec(**spec_fields),
        "status": TaskStatus.PENDING,
        "version": 1,
        "created_at": created_at,
        "run_at": run_at or created_at,
        "shape": "shape",
    }
    return Task(**(task_fields | fields))


def build_dependent(*parents: str, when: When = When.SUCCESS, **fields: Any) -> Task:
    """Return a task that waits for these."""
    depends_on = tuple(Dependency(task_id=parent, when=when) for parent in parents)
    return replace(build_task(depends_on=depends_on, **fields), run_at=NEVER)


def build_node(node_id: str = "node-1", **fields: Any) -> Node:
    defaults: dict[str, Any] = {
        "node_id": node_id,
        "hostname": f"{node_id}.local",
        "port": 8081,
        "status": NodeStatus.ONLINE,
        "capacity": {"cpu": 4000, "memory": 8 * 2**30, "slots": 10},
        "allocatable": {"cpu": 4000, "memory": 8 * 2**30, "slots": 10},
        "registered_at": NOW,
        "last_heartbeat": NOW,
        "runtimes": ("docker",),
    }
    return Node(**(defaults | fields))


def build_master(master_id: str = "master-1", **fields: Any) -> Master:
    defaults: dict[str, Any] = {
        "master_id": master_id,
        "advertise_url": f"http://{master_id}:8080",
        "version": "0.1.0",
    }
    return Master(**(defaults | fields))


def build_report(task: Task, kind: ReportKind, **fields: Any) -> Report:
    """Return a report about the task's present attempt."""
    defaults: dict[str, Any] = {
        "sequence": 1,
        "task_id": task.task_id,
        "attempt": task.attempt,
        "kind": kind,
        "at": NOW,
    }
    return Report(**(defaults | fields))


def reported(task: Task, kind: ReportKind, **fields: Any) -> Reported:
    """Return the event of such a report from the attempt's own node."""
    assert task.node_id is not None
    return Reported(report=build_report(task, kind, **fields), node_id=task.node_id)


def ended(task: Task, **fields: Any) -> Reported:
    """Return the event of a good end, or with `error_code` of a bad one."""
    return reported(task, ReportKind.ENDED, **({"exit_code": 0} | fields))


def insertion(task: Task, body_hash: str | None = None) -> TaskWrite:
    return TaskWrite(task=task, body_hash=body_hash)


def change_of(task: Task, transition: Transition) -> TaskWrite:
    """Return the write that makes `task` what the transition says."""
    return TaskWrite(
        task=transition.task,
        expected_version=task.version,
        attempts=(transition.attempt,) if transition.attempt else (),
        events=transition.events,
    )


def happening(task: Task, event: Event, now: datetime = NOW) -> TaskWrite:
    """Return the write of what the event makes of the task."""
    return change_of(task, apply(task, event, now))


def assignment(task: Task, node_id: str = "node-1", now: datetime = NOW) -> TaskWrite:
    return happening(task, Assign(node_id=node_id), now)


def build_batch(writes: Iterable[TaskWrite], **fields: Any) -> Batch:
    """Return a batch of its own number."""
    defaults: dict[str, Any] = {"master_id": "master-1", "number": next(_serial), "now": NOW}
    return Batch(tasks=tuple(writes), **(defaults | fields))


def renumbered(batch: Batch) -> Batch:
    """Return the same content as a new batch."""
    return replace(batch, number=next(_serial))
