"""Checkpoints of tasks."""

from dataclasses import replace

from podling.core.coordination import Checkpoint
from podling.core.errors import StaleAttempt
from podling.kit.clock import Clock


class CheckpointTable:
    """The port `Checkpoints`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
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

    async def find(self, checkpoint_id: str) -> Checkpoint | None:
        every = (kept for saved in self._by_task.values() for kept in saved)
        return next((kept for kept in every if kept.checkpoint_id == checkpoint_id), None)

    async def latest(self, task_id: str) -> Checkpoint | None:
        saved = self._by_task.get(task_id)
        return saved[-1] if saved else None

    async def list(self, task_id: str) -> list[Checkpoint]:
        return list(self._by_task.get(task_id, ()))

    async def cleanup(self, task_id: str, keep: int) -> int:
        saved = self._by_task.get(task_id, [])
        gone = max(0, len(saved) - keep)
        del saved[:gone]
        return gone

    async def delete_all(self, task_id: str) -> int:
        self._last.pop(task_id, None)
        return len(self._by_task.pop(task_id, ()))
