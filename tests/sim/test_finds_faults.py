"""The simulation finds what it is there for: a part with a fault breaks a law within a few seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from podling.core.agent_instructions import WriteExit, WriteIntent
from podling.store.base import Batch, TaskWrite, WriteResult
from podling.store.memory.store import MemoryStore
from podling.worker.journal import Write
from tests.sim.journal import SimulatedJournal
from tests.sim.world import LawBroken, World

STEPS = 10_000
SEEDS = range(1, 25)


class NoVersions(MemoryStore):
    """Takes what was decided about an older version of a task."""

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        known = await self.load_tasks([write.task.task_id for write in batch.tasks])
        return await super().commit(
            replace(batch, tasks=tuple(_forced(write, known) for write in batch.tasks))
        )


def _forced(write: TaskWrite, known: Mapping) -> TaskWrite:  # type: ignore[type-arg]
    if write.expected_version is None or write.task.task_id not in known:
        return write
    return replace(write, expected_version=known[write.task.task_id].version)


class NoKeys(MemoryStore):
    """Forgets which task an idempotency key belongs to."""

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        return await super().commit(replace(batch, tasks=tuple(map(_keyless, batch.tasks))))


def _keyless(write: TaskWrite) -> TaskWrite:
    if write.expected_version is not None:
        return write
    return replace(write, task=replace(write.task, spec=replace(write.task.spec, idempotency_key=None)))


class NoIntents(SimulatedJournal):
    """Says that an intent is on disk before it is."""

    def _apply(self, write: Write) -> None:
        if not isinstance(write, WriteIntent):
            super()._apply(write)


class NoExits(SimulatedJournal):
    """Says that an end is on disk, and has not written it."""

    def _apply(self, write: Write) -> None:
        if not isinstance(write, WriteExit):
            super()._apply(write)


@pytest.mark.parametrize(
    ("store", "journal", "law"),
    [
        (NoVersions, SimulatedJournal, r"I\d+"),
        (NoKeys, SimulatedJournal, "I2"),
        (MemoryStore, NoIntents, "I15"),
        (MemoryStore, NoExits, "I1[56]"),
    ],
)
def test_a_fault_breaks_its_law(store: type[MemoryStore], journal: type[SimulatedJournal], law: str) -> None:
    with pytest.raises(LawBroken, match=rf"breaks:\n  {law}: "):
        for seed in SEEDS:
            World(seed, store=store, journal=journal).run(STEPS)
