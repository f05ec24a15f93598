"""What a worker's program has heard of its masters, and so must not start."""

from collections.abc import Callable

from podling.core.protocol import AttemptKey
from podling.wire.session import Desired, Drain, Stop, Welcome
from tests.sim.ledger import Run

UNDER_WAY_SECONDS = 0.5  # what was being started when the order came may still have been started


class Orders:
    """Begins anew with every start of the program."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._stopped_at: dict[AttemptKey, float] = {}
        self._drained_at: float | None = None

    def forget(self) -> None:
        self._stopped_at.clear()
        self._drained_at = None

    def hear(self, message: object) -> None:
        match message:
            case Welcome(desired=desired):
                self._drained_at = None  # unless the master says so again
                self.hear(desired)
            case Desired(stop=items) | Stop(items=items):
                for order in items:
                    key = AttemptKey(task_id=order.task_id, attempt=order.attempt)
                    self._stopped_at.setdefault(key, self._now())
            case Drain(reason=reason):
                self._drained_at = None if reason is None else self._drained_at or self._now()

    def against(self, run: Run, is_first: bool) -> tuple[str, str] | None:
        """Return the law that this start breaks, and how; None if it may be."""
        latest = self._now() - UNDER_WAY_SECONDS
        stopped_at = self._stopped_at.get(AttemptKey(task_id=run.task_id, attempt=run.attempt))
        if stopped_at is not None and stopped_at < latest:
            return "I13", f"{run} starts after its stop was heard at {stopped_at:.3f}"
        if is_first and self._drained_at is not None and self._drained_at < latest:
            return (
                "I19",
                f"{run} starts on a node that has heard at {self._drained_at:.3f} that it is drained",
            )
        return None
