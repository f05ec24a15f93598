"""The simulation finds what it is there for: a part with a fault breaks a law within a few seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from podling.core import agent_lease, lifecycle, nodeindex, placement
from podling.core.agent_instructions import WriteExit, WriteIntent
from podling.core.agent_turn import Turn
from podling.core.coordination import Checkpoint
from podling.core.errors import StaleAttempt
from podling.core.graph import Links
from podling.core.lifecycle import ParentsMet
from podling.core.node import Node
from podling.master.committer import Committer
from podling.master.loops import dependents
from podling.master.loops.election import Election
from podling.store.base import Batch, Leadership, TaskWrite, WriteResult
from podling.store.memory.changes import ChangeTable
from podling.store.memory.coordination.checkpoints import CheckpointTable
from podling.store.memory.coordination.locks import LockTable
from podling.store.memory.store import MemoryStore
from podling.worker.journal import Write
from tests.sim.journal import SimulatedJournal
from tests.sim.world import LawBroken, World

STEPS = 16_000
SEEDS = range(1, 25)


# Stores


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


class NoEpochs(MemoryStore):
    """Takes a leader's commit without asking whether that leader still leads."""

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        return await super().commit(replace(batch, epoch=None))


class NoEpochOfMarks(MemoryStore):
    """Lets anybody who ever led declare a node lost."""

    async def mark_lost(self, node_id: str, seen_counter: int, epoch: int) -> bool:
        return await super().mark_lost(node_id, seen_counter, (await self.leadership()).epoch)


class NoEpochOfBlocks(MemoryStore):
    """Lets anybody who ever led take tasks out of the ready index, and put them back."""

    async def block(self, task_ids: Sequence[str], epoch: int) -> None:
        await super().block(task_ids, (await self.leadership()).epoch)

    async def unblock(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        return await super().unblock(rooms, (await self.leadership()).epoch)


class NoSeenCounters(MemoryStore):
    """Declares a node lost although it has beaten since it was looked at."""

    async def mark_lost(self, node_id: str, seen_counter: int, epoch: int) -> bool:
        counters = {beat.node_id: beat.counter for beat in await self.load_beats()}
        return await super().mark_lost(node_id, counters.get(node_id, seen_counter), epoch)


class NoRecordSeen(MemoryStore):
    """Gives the leadership to whoever asks, also if another one was faster."""

    async def take_leadership(self, master_id: str, seen: Leadership) -> int | None:
        await super().take_leadership(master_id, await self.leadership())
        return seen.epoch + 1


class NoSessionsOfBeats(MemoryStore):
    """Counts the beat of a session that a newer one has followed."""

    async def beat(self, sessions: Mapping[str, int], now: Any) -> frozenset[str]:
        newest = {node.node_id: node.session_no for node in await self.load_nodes()}
        return await super().beat({one: newest[one] for one in sessions if one in newest}, now)


class NoSessionsOfNodes(MemoryStore):
    """Writes what a session says about its node, whether or not it is the newest."""

    async def save_node(self, node: Node, expected_session_no: int | None = None) -> bool:
        return await super().save_node(node)


# Journals


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


# Rules that are not kept


async def _write_unguarded(committer: Any, items: Sequence[Any]) -> Any:
    """Commit what is left of the leader's own items after it has stepped down."""
    async with committer._main.turn:
        return await committer._write(committer._main, items, committer._epoch)


def _unavailability_but_for_drains(node: Node) -> placement.Lack | None:
    return placement.unavailability(replace(node, cordoned=False, drain=None))


def _let_go(links: Sequence[Links]) -> ParentsMet:
    return ParentsMet(parents=len(links))


async def _give_to_all(table: Any, key: str, owner: str, ttl: float, wait_seconds: float = 0.0) -> Any:
    return table._give(key, owner, ttl)


async def _forget_tokens(table: Any, key: str, token: int) -> bool:
    """Free a lock, and count its tokens anew."""
    held = table._live(key)
    if held is None or held.lock.token != token:
        return False
    table._token = 0
    return bool(table._free(key))


async def _release_with_any(table: Any, key: str, token: int) -> bool:
    return table._live(key) is not None and table._free(key)


async def _extend_with_any(table: Any, key: str, ttl: float, *, token: int) -> Any:
    held = table._live(key)
    return None if held is None else held.lock


async def _refuse_all(table: Any, key: str, ttl: float, *, token: int) -> None:
    """Extend nothing, whoever holds it."""


async def _save_of_anybody(table: Any, checkpoint: Checkpoint, keep: int) -> Checkpoint:
    kept = replace(checkpoint, sequence=table._last.get(checkpoint.task_id, (0, 0))[0] + 1)
    table._last[kept.task_id] = (kept.sequence, kept.attempt)
    table._by_task.setdefault(kept.task_id, []).append(kept)
    return kept


async def _lose_checkpoints(table: Any, checkpoint: Checkpoint, keep: int) -> Checkpoint:
    """Say that it is kept."""
    if not table._is_live(checkpoint.task_id, checkpoint.attempt):
        raise StaleAttempt("not the live one")
    sequence, _ = table._last.get(checkpoint.task_id, (0, 0))
    table._last[checkpoint.task_id] = (sequence + 1, checkpoint.attempt)
    return replace(checkpoint, sequence=sequence + 1)


def _allow(*_: Any) -> None:
    """Check nothing, do nothing, refuse nothing."""


@dataclass(frozen=True)
class Fault:
    """`favours`: what has to go wrong often enough for the fault to show; `law`: one it breaks."""

    law: str
    store: type[MemoryStore] = MemoryStore
    journal: type[SimulatedJournal] = SimulatedJournal
    part: object = None
    rule: str = ""
    instead: Any = _allow
    favours: tuple[str, ...] = ()
    coordinates: bool = False


FAULTS = {
    "a write of an older version": Fault(r"I\d+", store=NoVersions, favours=("lose_replies", "hold_commits")),
    "a forgotten idempotency key": Fault("I2", store=NoKeys),
    "a commit of a stale leader": Fault("I21", store=NoEpochs, favours=("catch",)),
    "a mark of a stale leader": Fault("I21|I25", store=NoEpochOfMarks, favours=("catch_marks", "isolate")),
    "a block of a stale leader": Fault("I21", store=NoEpochOfBlocks, favours=("catch_blocks",)),
    "a number that is used twice": Fault(
        "I2", part=ChangeTable, rule="answer_to", favours=("lose_replies", "hold_commits")
    ),
    "a mark of a node that has beaten": Fault("I9", store=NoSeenCounters, favours=("catch_marks", "isolate")),
    "a takeover that came second": Fault("I22", store=NoRecordSeen, favours=("catch",)),
    "a beat of an older session": Fault("I20", store=NoSessionsOfBeats, favours=("cut_off",)),
    "a node as an older session knows it": Fault(
        "I20", store=NoSessionsOfNodes, favours=("catch_nodes", "isolate")
    ),
    "an intent that is not on disk": Fault("I15", journal=NoIntents),
    "an end that is not on disk": Fault("I1[56]", journal=NoExits),
    "a leader's commit after stepping down": Fault(
        "I21", part=Committer, rule="_write_leaders", instead=_write_unguarded, favours=("catch",)
    ),
    "a leader that does not step down": Fault("I2[13]", part=Election, rule="_step_down_if_late"),
    "a report of an older attempt": Fault("I8", part=lifecycle, rule="_check_fence"),
    "a start after its stop": Fault(
        "I13", part=Turn, rule="remember_stop", favours=("reset", "spoil_messages")
    ),
    "a container that outlives the lease": Fault(
        "I17", part=agent_lease, rule="_stop_leased", favours=("isolate",)
    ),
    "a drained worker that starts what it has": Fault("I19", part=Turn, rule="refusal", favours=("isolate",)),
    "a dependent that does not wait": Fault("I29", part=dependents, rule="decide", instead=_let_go),
    "a planner that overlooks a drain": Fault(
        "I19|I3", part=nodeindex, rule="unavailability", instead=_unavailability_but_for_drains
    ),
} | {
    name: Fault(law, part=part, rule=rule, instead=instead, coordinates=True)
    for name, (law, part, rule, instead) in {
        "a lock that two hold": ("I30", LockTable, "acquire", _give_to_all),
        "a token that comes again": ("I30", LockTable, "release", _forget_tokens),
        "a release with an old token": ("I30", LockTable, "release", _release_with_any),
        "an extension with an old token": ("I30", LockTable, "extend", _extend_with_any),
        "a holder who cannot extend": ("I30", LockTable, "extend", _refuse_all),
        "a checkpoint of an attempt that is over": (
            "I31",
            CheckpointTable,
            "save_from_inside",
            _save_of_anybody,
        ),
        "a checkpoint that is not kept": ("I31", CheckpointTable, "save_from_inside", _lose_checkpoints),
    }.items()
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_breaks_its_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    if fault.part is not None:
        monkeypatch.setattr(fault.part, fault.rule, fault.instead)
    with pytest.raises(LawBroken, match=rf"breaks:\n  ({fault.law}): "):
        for seed in SEEDS:
            World(
                seed,
                store=fault.store,
                journal=fault.journal,
                favours=fault.favours,
                coordinates=fault.coordinates,
            ).run(STEPS)
