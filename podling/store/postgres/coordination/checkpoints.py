"""Checkpoints of tasks."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from podling.core.coordination import Checkpoint
from podling.core.errors import StaleAttempt
from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.queries import load

_SQL = load("checkpoints")
_COLUMNS = tuple(Checkpoint.__dataclass_fields__)


class CheckpointTable:
    """The port `Checkpoints`."""

    def __init__(self, runner: Runner) -> None:
        self._fetch = runner.fetch

    async def save(self, checkpoint: Checkpoint) -> Checkpoint:
        rows = await self._fetch(_SQL.save, *_given(checkpoint))
        if not rows:
            raise StaleAttempt("a later attempt of the task has saved a checkpoint since")
        return _read(rows[0])

    async def save_from_inside(self, checkpoint: Checkpoint, keep: int) -> Checkpoint:
        rows = await self._fetch(_SQL.save_from_inside, *_given(checkpoint), keep)
        if not rows:
            raise StaleAttempt(f"attempt {checkpoint.attempt} is not the task's live one")
        return _read(rows[0])

    async def find(self, checkpoint_id: str) -> Checkpoint | None:
        return await self._one(_SQL.find, checkpoint_id)

    async def latest(self, task_id: str) -> Checkpoint | None:
        return await self._one(_SQL.latest, task_id)

    async def list(self, task_id: str) -> list[Checkpoint]:
        return [_read(row) for row in await self._fetch(_SQL.list, task_id)]

    async def newest(self, task_id: str, limit: int, before: int | None = None) -> Sequence[Checkpoint]:
        return [_read(row) for row in await self._fetch(_SQL.newest, task_id, limit, before)]

    async def cleanup(self, task_id: str, keep: int) -> int:
        return int((await self._fetch(_SQL.cleanup, task_id, keep))[0]["count"])

    async def delete_all(self, task_id: str) -> int:
        return int((await self._fetch(_SQL.delete_all, task_id))[0]["count"])

    async def _one(self, sql: str, *arguments: Any) -> Checkpoint | None:
        rows = await self._fetch(sql, *arguments)
        return _read(rows[0]) if rows else None


def _given(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return (
        checkpoint.task_id,
        checkpoint.checkpoint_id,
        checkpoint.attempt,
        checkpoint.progress,
        checkpoint.data,
        checkpoint.estimated_seconds_remaining,
    )


def _read(row: asyncpg.Record) -> Checkpoint:
    return Checkpoint(**{column: row[column] for column in _COLUMNS})
