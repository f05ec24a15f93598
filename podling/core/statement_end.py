"""The end of a statement in Podling's own database, committed there together with what the statement did.

The task's row has it (`Task.done_at`) before anybody has heard of it. From then on its attempt is
completed: whoever reads the row takes whatever else is said of that attempt for this end.
"""

from datetime import datetime

from podling.core.lifecycle import Event, Reported
from podling.core.protocol import Report, ReportKind
from podling.core.task import ContainerState, ContainerStatus, Task
from podling.core.value import changed, value


@value
class StatementEnd:
    """What the statement's transaction leaves for the leader."""

    attempt: int
    node_id: str
    at: datetime


def settled(task: Task, event: Event) -> Event:
    """Return the event, or the end that is in the row by now; what speaks of another attempt stays wrong."""
    if task.done_at is None or not task.status.is_live or task.node_id is None:
        return event
    report = event.report if isinstance(event, Reported) else None
    attempt = report.attempt if report else getattr(event, "attempt", None)
    if attempt not in (None, task.attempt) or (report and _is_whole(report)):
        return event
    end = StatementEnd(attempt=task.attempt, node_id=task.node_id, at=task.done_at)
    over = (changed(one, status=_OVER, exit_code=0, finished_at=end.at) for one in task.containers)
    return ended(task.task_id, end, tuple(over))


_OVER = ContainerStatus.TERMINATED


def _is_whole(report: Report) -> bool:
    """Whether the worker itself tells this end, and knows more of it than the row does."""
    return report.kind is ReportKind.ENDED and report.error_code is None and bool(report.containers)


def ended(task_id: str, end: StatementEnd, containers: tuple[ContainerState, ...] = ()) -> Reported:
    """Return the end as the report that a worker would have given."""
    report = Report(
        sequence=0,
        task_id=task_id,
        attempt=end.attempt,
        kind=ReportKind.ENDED,
        at=end.at,
        finished_at=end.at,
        exit_code=0,
        containers=containers,
    )
    return Reported(report=report, node_id=end.node_id)
