"""Coordination within one process."""

from podling.coordination.coordination import Coordination
from podling.core.coordination_rules import DEFAULT_LOCK_SECONDS
from podling.kit.clock import Clock, SystemClock
from podling.store.memory.coordination import MemoryCoordination


def in_memory(
    *, prefix: str = "", lock_seconds: float = DEFAULT_LOCK_SECONDS, clock: Clock | None = None
) -> Coordination:
    """Return coordination that lives and dies with this process."""
    return Coordination(MemoryCoordination(clock or SystemClock()), prefix=prefix, lock_seconds=lock_seconds)
