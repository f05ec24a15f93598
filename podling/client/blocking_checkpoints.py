# Written by bin/generate-client from asynchronous_checkpoints.py: change that file instead.
"""Checkpoints: where a task's next attempt goes on, read from outside and saved from inside."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

from podling.client import checkpoints as calls
from podling.client.blocking_base import PAGE, Caller
from podling.client.operator_models import Checkpoint


class Checkpoints:
    """Of any task. What saves or says something is for the attempt itself, whose token the client has.

    Those raise StaleAttempt when the attempt is not the live one any more: stop then.
    """

    def __init__(self, client: Caller) -> None:
        self._client = client

    def of(self, task_id: str, *, limit: int | None = None, page: int = PAGE) -> Iterator[Checkpoint]:
        """Yield a task's, the newest first and at most `limit`, page by page."""
        listing = partial(calls.listing, task_id)
        return cast(Iterator[Checkpoint], self._client.items(listing, limit=limit, page=page))

    def latest(self, task_id: str) -> Checkpoint | None:
        """Return the one from which the next attempt goes on."""
        found = (self._client.send(calls.listing(task_id, limit=1))).items
        return cast(Checkpoint, found[0]) if found else None

    def cleanup(self, task_id: str, keep: int = 1) -> int:
        """Remove all but the last `keep`; return how many."""
        return int((self._client.send(calls.remove(task_id, keep)))["removed"])

    def delete_all(self, task_id: str) -> int:
        """Remove all of the task's; return how many."""
        return self.cleanup(task_id, keep=0)

    def save(
        self,
        task_id: str,
        data: Any = None,
        *,
        progress: float | None = None,
        estimated_seconds_remaining: float | None = None,
    ) -> Checkpoint:
        """Keep one more; it is there when this returns."""
        call = calls.save(task_id, data, progress, estimated_seconds_remaining)
        return cast(Checkpoint, self._client.send(call))

    def say_progress(self, task_id: str, progress: float) -> None:
        """Say how far the task is, in percent."""
        self._client.send(calls.say_progress(task_id, progress))

    def say_result(self, task_id: str, result: Any) -> None:
        """Say what came of the task: any JSON of at most 64 KiB."""
        self._client.send(calls.say_result(task_id, result))


class Checkpointing(Caller):
    """What a client does with checkpoints."""

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self)
