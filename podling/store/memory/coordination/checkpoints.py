"""Checkpoints of tasks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from podling.core.coordination import Checkpoint
from podling.core.errors import StaleAttempt
from podling.kit.clock import Clock

IsLive = Callable[[str, int], bool]


def no_tasks(task_id: str, attempt: int) -> bool:
    """A program of its own knows no attempt that could be live."""
    return False


class CheckpointTable:
    """The port `Checkpoints`. `is_live` says whether this attempt of the task is on a node."""

    def __init__(self, clock: Clock, is_live: IsLive = no_tasks) -> None:
        self._clock = clock
        self._is_live = is_live
        self._by_task: dict[str, list[Checkpoint]] = {}
        self._last: dict[str, tuple[int, int]] = {}  # the sequence and the attempt of the last one

    async def save(self, checkpoint: Checkpoint) -> Checkpoint:
        sequence, attempt = self._last.get(checkpoint.task_id, (0, 0))
        if checkpoint.attempt < attempt:
            raise StaleAttempt(f"attempt {attempt} has saved a checkpoint since")
        kept = replace(checkpoint, sequence=sequence + 1, at=self._clock.now())
        self._last[kept.task_id] = (kept.sequence, kept.attempt)
        self._by_task.setdefault(kept.task_id, []).append(kept)
        return kept

    async def save_from_inside(self, checkpoint: Checkpoint, keep: int) -> Checkpoint:
        if not self._is_live(checkpoint.task_id, checkpoint.attempt):
            raise StaleAttempt(f"attempt {checkpoint.attempt} is not the task's live one")
        kept = await self.save(checkpoint)
        await self.cleanup(checkpoint.task_id, keep)
        return kept

    async def find(self, checkpoint_id: str) -> Checkpoint | None:
        every = (kept for saved in self._by_task.values() for kept in saved)
        return next((kept for kept in every if kept.checkpoint_id == checkpoint_id), None)

    async def latest(self, task_id: str) -> Checkpoint | None:
        saved = self._by_task.get(task_id)
        return saved[-1] if saved else None

    async def list(self, task_id: str) -> list[Checkpoint]:
        return list(self._by_task.get(task_id, ()))

    async def newest(self, task_id: str, limit: int, before: int | None = None) -> Sequence[Checkpoint]:
        saved = reversed(self._by_task.get(task_id, ()))
        return list(islice((kept for kept in saved if before is None or kept.sequence < before), limit))

    async def cleanup(self, task_id: str, keep: int) -> int:
        saved = self._by_task.get(task_id, [])
        gone = max(0, len(saved) - keep)
        del saved[:gone]
        return gone

    async def delete_all(self, task_id: str) -> int:
        return self.drop(task_id)

    def drop(self, task_id: str) -> int:
        """See `delete_all`."""
        self._last.pop(task_id, None)
        return len(self._by_task.pop(task_id, ()))
