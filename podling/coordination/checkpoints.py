"""Checkpoints: how far a task has come, so that its next attempt need not begin anew."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from podling.core.coordination import Checkpoint
from podling.core.coordination_rules import (
    MOST_COUNT,
    check_estimate,
    check_key,
    check_progress,
    check_whole,
    from_text,
    to_text,
)
from podling.kit.ids import new_id
from podling.store.ports.coordination import Checkpoints as Table


class Checkpoints:
    """Checkpoints by their tasks: any name will do that the caller's tasks have."""

    def __init__(self, table: Table, prefix: str) -> None:
        self._table = table
        self._prefix = prefix

    async def save(
        self,
        task_id: str,
        data: Any = None,
        *,
        progress: float | None = None,
        estimated_seconds_remaining: float | None = None,
        attempt: int = 1,
    ) -> Checkpoint:
        """Keep one more; it is there when this returns.

        Raises StaleAttempt if a later attempt has saved one: whoever was thought dead cannot undo it.
        """
        asked = self._asked(task_id, attempt, data, progress, estimated_seconds_remaining)
        return self._told(await self._table.save(asked))

    async def save_from_inside(
        self,
        task_id: str,
        data: Any = None,
        *,
        progress: float | None = None,
        estimated_seconds_remaining: float | None = None,
        attempt: int,
        keep: int,
    ) -> Checkpoint:
        """As `save`, for a task of the store's own master; only the task's last `keep` stay.

        Raises StaleAttempt unless the attempt is live.
        """
        asked = self._asked(task_id, attempt, data, progress, estimated_seconds_remaining)
        return self._told(await self._table.save_from_inside(asked, keep))

    def _asked(
        self, task_id: str, attempt: int, data: Any, progress: float | None, estimate: float | None
    ) -> Checkpoint:
        now = datetime.now(UTC)  # of the id alone; the store says when it was saved
        return Checkpoint(
            checkpoint_id=new_id(now),
            task_id=self._whole(task_id),
            attempt=check_whole(attempt, "attempt", 1, MOST_COUNT),
            sequence=0,
            at=now,
            progress=check_progress(progress),
            data=to_text(data, "data"),
            estimated_seconds_remaining=check_estimate(estimate),
        )

    async def load(self, checkpoint_id: str) -> Checkpoint | None:
        """Return a checkpoint by its id, if it is one of this prefix."""
        found = await self._table.find(check_key(checkpoint_id, "checkpointId"))
        if found is None or not found.task_id.startswith(self._prefix):
            return None
        return self._told(found)

    async def load_latest(self, task_id: str) -> Checkpoint | None:
        found = await self._table.latest(self._whole(task_id))
        return None if found is None else self._told(found)

    async def list(self, task_id: str) -> Sequence[Checkpoint]:
        """Return the task's checkpoints in the order in which they were saved."""
        return [self._told(found) for found in await self._table.list(self._whole(task_id))]

    async def newest(self, task_id: str, limit: int, before: int | None = None) -> Sequence[Checkpoint]:
        """Return the task's last ones, the newest first: those with a sequence before the one given."""
        found = await self._table.newest(self._whole(task_id), limit, before)
        return [self._told(kept) for kept in found]

    async def cleanup(self, task_id: str, keep: int = 1) -> int:
        """Remove all but the last `keep`; return how many."""
        return await self._table.cleanup(self._whole(task_id), check_whole(keep, "keep", 0, MOST_COUNT))

    async def delete_all(self, task_id: str) -> int:
        """Remove all of the task's, and what is known of its attempts; return how many."""
        return await self._table.delete_all(self._whole(task_id))

    def _whole(self, task_id: str) -> str:
        return self._prefix + check_key(task_id, "taskId")

    def _told(self, found: Checkpoint) -> Checkpoint:
        task_id = found.task_id.removeprefix(self._prefix)
        return replace(found, task_id=task_id, data=from_text(found.data))
