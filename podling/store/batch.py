"""What masters commit at once, what a store answers, and how the feed tells it to the others."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from podling.core.alerts import Alert
from podling.core.dead_letters import letter_of
from podling.core.node import NodeChange
from podling.core.schedule import FireWrite
from podling.core.task import Attempt, Task, TaskEvent, TaskStatus
from podling.core.value import value
from podling.core.workflow import Workflow


@value
class TaskWrite:
    """One task as it shall be; `expected_version` is what the store must hold, None to insert.

    `attempts` are inserted or replaced whole, `events` and `alerts` appended. An insert with
    `spec.idempotency_key` claims the key, with `body_hash` to tell a repeat from a misuse; a due one that
    is `blocked` or in a `line` begins out of the ready order, one of a schedule is inserted only if its
    `fire` can be kept. `before` is its last status, for the feed. An insert takes the dead letter `takes_off`
    off the list, on which a write puts what failed for good; with `only_if_listed` it is refused without it.
    An insert from the inbox takes its row `inbox_id` out of that, and is refused if it is not there any more.
    """

    task: Task
    expected_version: int | None = None
    before: TaskStatus | None = None
    attempts: tuple[Attempt, ...] = ()
    events: tuple[TaskEvent, ...] = ()
    body_hash: str | None = None
    blocked: bool = False
    line: str | None = None
    alerts: tuple[Alert, ...] = ()
    takes_off: str | None = None
    only_if_listed: bool = False
    fire: FireWrite | None = None
    inbox_id: int | None = None

    @property
    def is_plainly_new(self) -> bool:
        """Whether nothing but its own rows, its key and its place in the inbox are written with it."""
        return self._is_new_alone and self.task.status is TaskStatus.PENDING and not self.attempts

    @property
    def is_given(self) -> bool:
        """Whether it makes the task and gives it its node at once."""
        return self.expected_version is None and self.task.status is TaskStatus.SCHEDULED

    @property
    def is_plainly_given(self) -> bool:
        """Whether it is a new task, perhaps with a node already, that has no key and was in no inbox."""
        return (
            self._is_new_alone
            and self.inbox_id is None
            and self.task.status in (TaskStatus.PENDING, TaskStatus.SCHEDULED)
            and self.task.spec.idempotency_key is None
        )

    @property
    def _is_new_alone(self) -> bool:
        """Whether it makes a task, and no other task, schedule or alert has to do with that."""
        return (
            self.expected_version is None
            and self.takes_off is None
            and self.fire is None
            and not self.task.spec.depends_on
            and not (self.events or self.alerts)
        )

    @property
    def is_plain_move(self) -> bool:
        """Whether it changes a task's state, and nothing is written with it but attempts and events."""
        is_alone = not self.alerts and not self.ends_wait and letter_of(self.task) is None
        return self.expected_version is not None and is_alone

    @property
    def ends_wait(self) -> bool:
        """Whether the task waits for its parents no more, for all that the store may know."""
        task = self.task
        return (
            bool(task.spec.depends_on)
            and self.expected_version is not None
            and task.attempt == 0
            and not task.waits_for_parents
        )


@value
class Batch:
    """What one master commits at once. `number` counts the batches of one of its lanes, which
    `master_id` names: a repeat changes nothing twice.

    With an `epoch` the whole batch is refused (StaleEpoch) unless that epoch still leads. `now` is
    the wall clock by which pending tasks are ready or not yet. `nodes` is only told in the feed. With a
    `workflow`, whose idempotency key is used already, every write is a DUPLICATE of that one's id.
    """

    master_id: str
    number: int
    now: datetime
    tasks: tuple[TaskWrite, ...]
    epoch: int | None = None
    nodes: tuple[NodeChange, ...] = ()
    workflow: Workflow | None = None

    @property
    def is_all_new(self) -> bool:
        """Whether it is of plain new tasks, and not a leader's."""
        return self._is_of_tasks(leaders=False) and all(write.is_plainly_new for write in self.tasks)

    @property
    def is_all_given(self) -> bool:
        """Whether it is a leader's, of plain new tasks; without keys, it waits for nobody under its epoch."""
        return self._is_of_tasks(leaders=True) and all(write.is_plainly_given for write in self.tasks)

    @property
    def is_all_moves(self) -> bool:
        """Whether it is of plain moves, of each task once, and not a leader's."""
        return (
            self._is_of_tasks(leaders=False)
            and all(write.is_plain_move for write in self.tasks)
            and len({write.task.task_id for write in self.tasks}) == len(self.tasks)
        )

    def _is_of_tasks(self, *, leaders: bool) -> bool:
        """Whether nothing but tasks is written, under an epoch or without one."""
        by_a_leader = self.epoch is not None
        return by_a_leader is leaders and self.workflow is None and bool(self.tasks) and not self.nodes


class WriteStatus(StrEnum):
    APPLIED = "applied"
    CONFLICT = "conflict"  # another version (or no such task): load it and decide again
    REFUSED = "refused"  # its schedule has changed, its fire was decided, or it is not in the inbox any more
    DUPLICATE = "duplicate"  # the idempotency key belongs to the task `task_id`
    NOT_LISTED = "not_listed"  # the dead letter is not on the list
    NO_PARENT = "no_parent"  # it depends on the task `task_id`, which is not there


@value
class WriteResult:
    """What became of one write of a batch, in the batch's order."""

    task_id: str
    status: WriteStatus
    same_body: bool = True


class Change(NamedTuple):
    """What the feed tells of an applied write; for more, load the task.

    A tuple, since every master reads those of all masters.
    """

    task_id: str
    version: int
    status: TaskStatus
    attempt: int
    node_id: str | None
    before: TaskStatus | None = None  # the status it had; None if it is new

    def with_its_making(self) -> "tuple[Change, Change]":
        """Return what is told of a new task that got its node in the same write: it was pending before."""
        new = Change(self.task_id, 1, TaskStatus.PENDING, 0, None)
        return new, self._replace(before=TaskStatus.PENDING)


@value
class ChangeBatch:
    """One commit as the feed tells it; `at` is its master's wall clock."""

    master_id: str
    number: int
    changes: tuple[Change, ...]
    nodes: tuple[NodeChange, ...] = ()
    at: datetime | None = None
