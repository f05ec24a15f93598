"""New tasks on their way into a commit."""

from dataclasses import dataclass

from podling.core.lifecycle import Cancel, Deny
from podling.core.schedule import FireWrite
from podling.core.task import Task, TaskEvent
from podling.core.value import changed
from podling.core.workflow import Workflow
from podling.store.base import TaskWrite


@dataclass(frozen=True, slots=True)
class Replays:
    """`line` is the original's; it is taken off the dead-letter list in the same commit.

    `only_if_listed`: nothing is inserted unless it was on that list.
    """

    line: TaskEvent
    only_if_listed: bool

    def within(self, write: TaskWrite) -> TaskWrite:
        return changed(
            write,
            events=(*write.events, self.line),
            takes_off=self.line.task_id,
            only_if_listed=self.only_if_listed,
        )


@dataclass(frozen=True, slots=True)
class Insert:
    """A new task, with a hash of its body if it has an idempotency key.

    `blocked`: nothing of its shape fits anywhere, so it waits out of the ready order; or it does in a `line`.
    `fire`: it is a schedule's, and is made only if that can be kept; `events` begin its timeline.
    `inbox_id`: it is made only if it still waits there; `over` ends it in the commit that makes it.
    """

    task: Task
    body_hash: str | None
    blocked: bool = False
    line: str | None = None
    replays: Replays | None = None
    fire: FireWrite | None = None
    events: tuple[TaskEvent, ...] = ()
    inbox_id: int | None = None
    over: Cancel | Deny | None = None

    def write(self) -> TaskWrite:
        plain = TaskWrite(
            task=self.task,
            body_hash=self.body_hash,
            blocked=self.blocked,
            line=self.line,
            fire=self.fire,
            events=self.events,
            inbox_id=self.inbox_id,
        )
        return plain if self.replays is None else self.replays.within(plain)


@dataclass(frozen=True, slots=True)
class InsertWorkflow:
    """A workflow with all its tasks."""

    workflow: Workflow
    inserts: tuple[Insert, ...]
