"""Which reports are sent over one line, and when."""

from collections import deque
from collections.abc import Iterable

from podling.core.agent import AgentState
from podling.core.protocol import AttemptKey, Report, ReportKind
from podling.core.spec import Runtime

SEND_AGAIN_SECONDS = 5.0
HOLD_SECONDS = 0.1
LONGEST_HOLD_SECONDS = 1.0
LEAST_WAIT_SECONDS = 0.001  # what is awaited sooner may come by the loop's clock before it does by ours
MOST_REPORTS = 500


class DueReports:
    """A start waits a moment for its end, which takes its place: so a short attempt is one report.
    While the master has others to answer it waits longer, as those wait that come to a commit's door.
    A container's start never waits: its end takes longer than that, and people want to see it run.

    What has not been answered for so long that the answer must be lost is sent again.
    """

    def __init__(self) -> None:
        self._begun = False
        self._next = 0  # the sequence number from which on all is new
        self._due: deque[int] = deque()
        self._starts: deque[tuple[float, int]] = deque()  # since when each waits
        self._sent: dict[int, float] = {}  # when, the oldest first

    def answered(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            self._sent.pop(sequence, None)

    def take(self, state: AgentState, now: float) -> list[Report]:
        """Return what is to be sent now, as much as one message holds."""
        self._look_at_new(state, now)
        self._let_go_of_starts(now, self._hold_seconds)
        self._look_at_unanswered(now)
        taken: list[Report] = []
        while self._due and len(taken) < MOST_REPORTS:
            report = state.outbox.get(self._due.popleft())
            if report is not None:
                taken.append(report)
                self._sent[report.sequence] = now
        return taken

    def seconds_to_next(self, now: float) -> float:
        """Return after how long something may be due though nothing new has come."""
        if not self._starts:
            return SEND_AGAIN_SECONDS
        return max(LEAST_WAIT_SECONDS, self._starts[0][0] + self._hold_seconds - now)

    @property
    def _hold_seconds(self) -> float:
        return LONGEST_HOLD_SECONDS if self._sent else HOLD_SECONDS

    def _look_at_new(self, state: AgentState, now: float) -> None:
        """What another line did not bring is new to this one."""
        new = range(self._next, state.next_sequence) if self._begun else state.outbox
        self._begun, self._next = True, state.next_sequence
        for sequence in new:
            report = state.outbox.get(sequence)
            if report is None:
                continue
            if report.kind is ReportKind.RUNNING and _may_end_at_once(state, report):
                self._starts.append((now, sequence))
                continue
            if report.kind is ReportKind.UPDATE:
                self._let_go_of_starts(now, 0.0)  # its own must come before it
            self._due.append(sequence)

    def _let_go_of_starts(self, now: float, hold_seconds: float) -> None:
        while self._starts and self._starts[0][0] + hold_seconds <= now:
            self._due.append(self._starts.popleft()[1])

    def _look_at_unanswered(self, now: float) -> None:
        while self._sent:
            sequence, at = next(iter(self._sent.items()))
            if now - at < SEND_AGAIN_SECONDS:
                return
            del self._sent[sequence]
            self._due.append(sequence)


def _may_end_at_once(state: AgentState, report: Report) -> bool:
    held = state.attempts.get(AttemptKey(task_id=report.task_id, attempt=report.attempt))
    return held is None or held.assignment.spec.runtime is not Runtime.DOCKER
