"""What the agent's world is made of."""

from dataclasses import dataclass
from typing import Any

from podling.core.agent_events import Seen
from podling.core.agent_instructions import Instruction
from podling.core.protocol import Assignment, AttemptKey, Report, StopOrder
from podling.core.spec import ContainerSpec, TaskSpec
from podling.core.task import StopReason

LEASE_SECONDS = 12.0
RUNTIMES = frozenset({"docker", "process"})
EXACT = frozenset({"process"})
KEY = AttemptKey(task_id="t1", attempt=1)
CANCEL = StopOrder(task_id="t1", attempt=1, reason=StopReason.CANCEL)


def assignment(
    task_id: str = "t1", attempt: int = 1, *, names: tuple[str, ...] = ("main",), **spec: Any
) -> Assignment:
    containers = tuple(ContainerSpec(name=name, image="busybox:local") for name in names)
    return Assignment(
        task_id=task_id, attempt=attempt, spec=TaskSpec(name="job", containers=containers, **spec)
    )


def key_of(given: Assignment | StopOrder | Report) -> AttemptKey:
    return AttemptKey(task_id=given.task_id, attempt=given.attempt)


@dataclass
class ModelContainer:
    """What the runtime has. `starts` counts over its whole life."""

    seen: Seen
    starts: int = 0
    term_at: float | None = None


@dataclass
class Call:
    """A runtime call on its way: first it has its effect, then it is answered; a crash may come between."""

    instruction: Instruction
    has_effect: bool = False
