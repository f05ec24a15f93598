"""The agent's state, and what changes in it during one step."""

from collections.abc import Mapping
from dataclasses import field
from typing import TypeVar

from podling.core.agent_attempt import Held
from podling.core.agent_events import Moment
from podling.core.agent_instructions import Instruction, Send
from podling.core.protocol import Assignment, AttemptKey, HeldAttempt, HeldState, Report, StopOrder
from podling.core.retry import ErrorCode
from podling.core.spec import OnDisconnect
from podling.core.value import changed, value

MOST_REMEMBERED = 2000

_Entry = TypeVar("_Entry")


@value
class Lease:
    """Counted from when the acknowledged beat was sent (monotonic). TERM, KILL, and KILL again."""

    sent_at: float
    seconds: float

    @property
    def stop_at(self) -> float:
        return self.sent_at + self.seconds * 2 / 3

    @property
    def kill_at(self) -> float:
        return self.sent_at + self.seconds * 5 / 6

    @property
    def last_kill_at(self) -> float:
        return self.sent_at + self.seconds * 11 / 12


@value
class AgentState:
    """All that a worker holds. `exact_runtimes` know every start that there was; `done` are the last
    ends that were acknowledged, so that an assignment that comes again is answered and not run again;
    `stopped` are stops that came before the start; `behind` wait for an earlier attempt of their task."""

    runtimes: frozenset[str] = frozenset()
    exact_runtimes: frozenset[str] = frozenset()
    attempts: Mapping[AttemptKey, Held] = field(default_factory=dict)
    outbox: Mapping[int, Report] = field(default_factory=dict)
    next_sequence: int = 1
    done: Mapping[AttemptKey, Report | None] = field(default_factory=dict)
    stopped: Mapping[AttemptKey, StopOrder] = field(default_factory=dict)
    behind: frozenset[AttemptKey] = frozenset()
    lease: Lease | None = None
    is_lapsed: bool = False  # the lease has not been renewed in time
    draining: str | None = None  # why this program takes nothing new any more
    drained: str | None = None  # why a master says that this node shall take nothing new


def held_attempts(state: AgentState) -> tuple[HeldAttempt, ...]:
    """Return the inventory: everything that is not done with."""
    return tuple(
        HeldAttempt(task_id=key.task_id, attempt=key.attempt, state=held.state)
        for key, held in state.attempts.items()
        if not (held.is_acknowledged and held.final is not None)
    )


def is_idle(state: AgentState) -> bool:
    """Whether no attempt is before its end."""
    return all(held.state is HeldState.ENDED for held in state.attempts.values())


class Turn:
    """Collects one step's changes; the state it began with stays as it was."""

    def __init__(self, state: AgentState, now: Moment) -> None:
        self.state = state
        self.now = now
        self.attempts = dict(state.attempts)
        self.outbox = dict(state.outbox)
        self.done = state.done
        self._newly_done: dict[AttemptKey, Report | None] | None = None
        self.next_sequence = state.next_sequence
        self.instructions: list[Instruction] = []
        self.settled: list[AttemptKey] = []  # attempts of which nothing runs any more

    def tell(self, instruction: Instruction) -> None:
        self.instructions.append(instruction)

    def result(self) -> AgentState:
        return changed(
            self.state,
            attempts=self.attempts,
            outbox=self.outbox,
            next_sequence=self.next_sequence,
            done=self.done,
        )

    def report(self, held: Held, report: Report) -> Held:
        """Put a report into the outbox; an end takes the place of what was not acknowledged yet."""
        sequence = self.put(report)
        if held.final is None:
            return changed(held, outstanding=(*held.outstanding, sequence))
        for older in held.outstanding:
            self.outbox.pop(older, None)
        return changed(held, outstanding=(sequence,))

    def put(self, report: Report) -> int:
        """Give the report its sequence number and have it sent."""
        sequence = self.next_sequence
        self.next_sequence += 1
        self.outbox[sequence] = changed(report, sequence=sequence)
        self.tell(Send())
        return sequence

    def remember_done(self, key: AttemptKey, final: Report | None) -> None:
        if self._newly_done is None:
            self.done = self._newly_done = dict(self.done)
        self._newly_done[key] = final
        _keep_newest(self._newly_done)

    def remember_stop(self, order: StopOrder) -> None:
        key = AttemptKey(task_id=order.task_id, attempt=order.attempt)
        stopped = {**self.state.stopped, key: order}
        _keep_newest(stopped)
        self.state = changed(self.state, stopped=stopped)

    def still_runs_older(self, key: AttemptKey) -> bool:
        """Whether an earlier attempt of the task is not over here: two never run side by side."""
        earlier = (AttemptKey(task_id=key.task_id, attempt=number) for number in range(1, key.attempt))
        return any(not held.is_settled for one in earlier if (held := self.attempts.get(one)) is not None)

    def wait_behind(self, key: AttemptKey) -> None:
        """Remember that the attempt waits for the end of an earlier one."""
        self.state = changed(self.state, behind=self.state.behind | {key})

    def behind(self, key: AttemptKey) -> list[AttemptKey]:
        """Return who has waited for the end of this attempt, and let them."""
        if not self.state.behind:
            return []
        later = [one for one in self.state.behind if one.task_id == key.task_id and one.attempt > key.attempt]
        self.state = changed(self.state, behind=self.state.behind.difference(later))
        return sorted((one for one in later if one in self.attempts), key=lambda one: one.attempt)

    def refusal(self, assignment: Assignment) -> tuple[ErrorCode, str] | None:
        """Why nothing may be started for this assignment, by code and sentence; None if it may."""
        if (drained := self.state.draining or self.state.drained) is not None:
            return ErrorCode.DRAINED, drained
        if assignment.spec.runtime not in self.state.runtimes:
            return ErrorCode.RUNTIME, f"this worker has no runtime {assignment.spec.runtime}"
        return None

    def waits_for_lease(self, assignment: Assignment) -> bool:
        """Whether nothing of it may be started before the lease is renewed.

        It came over a living session, so the next beat settles it; the lease's end sends it back.
        """
        return self.state.is_lapsed and assignment.spec.on_disconnect is OnDisconnect.STOP


def _keep_newest(entries: dict[AttemptKey, _Entry]) -> None:
    while len(entries) > MOST_REMEMBERED:
        del entries[next(iter(entries))]
