"""What the machine of `test_model` draws: new tasks, and events that may befall a task."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from podling.core.lifecycle import Assign, Cancel, Deadline, Event, Lose, QueueTimeout, Resolve, RetryNow
from podling.core.protocol import ReportKind
from podling.core.spec import Delivery, OnLost
from podling.core.task import HealthStatus, Resolution, StopReason, Task
from podling.store.base import TaskWrite
from tests.builders import build_task, insertion, reported, seconds

NODES = ("n1", "n2", "n3")
SHAPES = ("s1", "s2")
LABELS: tuple[dict[str, str], ...] = ({}, {"app": "web"}, {"app": "w_b", "tier": "%"})

_submissions = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([0, 0, 5, -5]),
        "wait": st.sampled_from([0.0, 0.0, -10.0, 20.0]),
        "shape": st.sampled_from(SHAPES),
        "labels": st.sampled_from(LABELS),
        "idempotency_key": st.sampled_from([None, None, "k1", "k2", "k3"]),
        "max_attempts": st.sampled_from([1, 3]),
        "max_losses": st.sampled_from([0, 2]),
        "queue_timeout_seconds": st.sampled_from([None, None, 15.0]),
        "deadline_seconds": st.sampled_from([None, None, 40.0]),
        "delivery": st.sampled_from(Delivery),
        "on_lost": st.sampled_from(OnLost),
    }
)

reports = st.one_of(
    st.fixed_dictionaries({"kind": st.just(ReportKind.RUNNING)}),
    st.fixed_dictionaries(
        {"kind": st.just(ReportKind.UPDATE), "health_status": st.sampled_from(HealthStatus)}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just(ReportKind.ENDED),
            "exit_code": st.sampled_from([0, 0, 1, None]),
            "error_code": st.sampled_from([None, None, "EXIT_CODE", "RUNTIME"]),
            "stopped_by": st.sampled_from([None, None, None, StopReason.CANCEL, StopReason.DEADLINE]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just(ReportKind.REFUSED), "error": st.just("no disk")}),
)

_PENDING_EVENTS = st.sampled_from(
    [*(Assign(node_id=node_id) for node_id in NODES), RetryNow(), QueueTimeout(), Deadline(), Cancel()]
)
_HELD_EVENTS = st.sampled_from([*(Resolve(outcome=word) for word in Resolution), Cancel()])
_LIVE_EVENTS = st.one_of(reports, reports, st.sampled_from([Cancel(), Deadline(), "lose", "lose"]))


@st.composite
def insertions(draw: st.DrawFn, task_id: str, now: datetime) -> TaskWrite:
    """Draw the write of a new task."""
    fields: dict[str, Any] = draw(_submissions)
    run_at = now + seconds(fields.pop("wait"))
    task = build_task(task_id=task_id, created_at=now, run_at=run_at, **fields)
    return insertion(task, draw(st.sampled_from(["hash", "other"])))


@st.composite
def events(draw: st.DrawFn, task: Task, now: datetime) -> Event:
    """Draw an event that suits the task's state, though the core may still refuse it."""
    if not task.status.is_live:
        pending: Event = draw(_PENDING_EVENTS)
        return pending
    if task.held is not None and draw(st.booleans()):
        held: Event = draw(_HELD_EVENTS)
        return held
    drawn = draw(_LIVE_EVENTS)
    if isinstance(drawn, dict):
        return reported(task, **({"at": now} | drawn))
    if drawn == "lose":
        return Lose(attempt=task.attempt, reason="the node is lost")
    live: Event = drawn
    return live
