"""What followers of the feed are told of a change, and which of them want to hear it."""

from collections.abc import Mapping
from dataclasses import field

from podling.core.node import NodeChangeKind
from podling.core.placement import meets
from podling.core.spec import Constraint
from podling.core.task import TaskStatus
from podling.core.value import value

NODES = "node"
TASKS = "task"
SUBMITTED, UPDATED = f"{TASKS}.submitted", f"{TASKS}.updated"

TYPES = (
    TASKS,
    NODES,
    SUBMITTED,
    UPDATED,
    *(f"{TASKS}.{status}" for status in TaskStatus),
    *(f"{NODES}.{kind}" for kind in NodeChangeKind),
)
"""What may be asked for: `task` and `node` are all of theirs."""


@value
class Summary:
    """What of a task's specification its events show and are chosen by. It never changes."""

    name: str | None = None
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def task_event_type(version: int, before: TaskStatus | None, status: TaskStatus) -> str:
    """Return `task.` and the new state, or that it was submitted, or that it only got news."""
    if version == 1:
        return SUBMITTED
    return UPDATED if status is before else f"{TASKS}.{status}"


@value
class EventFilter:
    """Joined by and. A type is that of an event, or `task` or `node` for all of them.

    Nodes have no queue, no labels of tasks and no task: a filter by those leaves their events out.
    """

    types: frozenset[str] = frozenset()
    task_id: str | None = None
    node_id: str | None = None
    queue: str | None = None
    labels: tuple[Constraint, ...] = ()

    @property
    def wants_summary(self) -> bool:
        return self.queue is not None or bool(self.labels)

    def wants(self, type_: str, node_id: str | None, task_id: str | None = None) -> bool:
        """Whether the event may be shown, as far as it can be told without the task's summary."""
        return (
            (not self.types or type_ in self.types or type_.partition(".")[0] in self.types)
            and self.node_id in (None, node_id)
            and self.task_id in (None, task_id)
            and (task_id is not None or not self.wants_summary)
        )

    def wants_task(self, summary: Summary) -> bool:
        """Whether the task's specification is one of those asked for."""
        return self.queue in (None, summary.queue) and all(
            meets(summary.labels, label) for label in self.labels
        )
