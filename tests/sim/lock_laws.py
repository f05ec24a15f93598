"""The laws of coordination (I30, I31), watched in what the database does and in what is written elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from podling.core.coordination import Checkpoint, Lock
from podling.store.base import Store
from tests.sim.call import Call
from tests.sim.loop import run_at_once
from tests.sim.story import Story

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Grant:
    """A lock as it was given; `number` counts all that ever were. `until` is by the database's clock."""

    number: int
    owner: str
    token: int
    until: float


class LockLaws:
    """Keeps its own books of who holds what, and of what was written under a lock."""

    def __init__(self, store: Store, story: Story, now: Callable[[], float]) -> None:
        self._store: Any = store
        self._story = story
        self._now = now
        self._held: dict[str, Grant] = {}
        self._given: dict[tuple[str, int], Grant] = {}  # the first lock with this token
        self._newest: dict[str, int] = {}  # token of each key
        self._written: dict[str, int] = {}  # the number of the last grant that wrote, of each key
        self._saved: dict[str, Checkpoint] = {}
        self._acknowledged: dict[str, int] = {}
        self.grants = 0
        self.refusals = 0
        self.writes = 0
        self.checkpoints = 0

    # What the database does

    def observe(self, call: Call, answer: Any) -> None:
        """Check a call that took effect."""
        match call.name.removeprefix("coordination."), call.arguments:
            case "locks.acquire", (key, owner, ttl, *_):
                self._acquired(key, owner, ttl, answer)
            case "locks.extend", (key, ttl, *_):
                self._extended(key, ttl, call.named.get("token"), answer)
            case "locks.release", (key, token):
                self._used(key, token, answer, "released")
                if answer:
                    self._held.pop(key, None)
            case "locks.force_release", (key,):
                self._held.pop(key, None)
            case "checkpoints.save_from_inside", (asked, _):
                self._kept(asked, answer)

    def _acquired(self, key: str, owner: str, ttl: float, lock: Lock | None) -> None:
        held = self._holder(key)
        if lock is None:
            self.refusals += 1
            if held is None and not self._just_ended(key):
                self._broken(f"{owner} was refused {key}, which nobody holds")
            return
        if held is not None and held.owner != owner:
            self._broken(f"{owner} was given {key}, which {held.owner} holds until {held.until:.3f}")
        if lock.token <= self._newest.get(key, 0):
            self._broken(f"token {lock.token} of {key} was given after {self._newest[key]}")
        self.grants += 1
        grant = Grant(self.grants, owner, lock.token, self._now() + ttl)
        self._held[key] = grant
        self._given.setdefault((key, lock.token), grant)
        self._newest[key] = max(lock.token, self._newest.get(key, 0))

    def _extended(self, key: str, ttl: float, token: int, lock: Lock | None) -> None:
        self._used(key, token, lock is not None, "extended")
        if lock is not None and (held := self._holder(key)) is not None:
            self._held[key] = replace(held, until=self._now() + ttl)

    def _used(self, key: str, token: int, was_taken: bool, what: str) -> None:
        """Only the token of the lock that is held does anything, and that one does."""
        held = self._holder(key)
        is_good = held is not None and held.token == token
        if was_taken and not is_good:
            self._broken(f"{key} was {what} with token {token}, and is held by {held}")
        if is_good and not was_taken and not self._just_ended(key):
            self._broken(f"{key} was not {what} with token {token}, which holds it")

    def _holder(self, key: str) -> Grant | None:
        held = self._held.get(key)
        return held if held is not None and self._now() < held.until - _SLACK else None

    def _just_ended(self, key: str) -> bool:
        held = self._held.get(key)
        return held is not None and abs(self._now() - held.until) <= _SLACK

    def _kept(self, asked: Checkpoint, kept: Checkpoint) -> None:
        """I31: only the live attempt saves, and none before the last that did."""
        task = run_at_once(self._store.load_tasks([asked.task_id])).get(asked.task_id)
        name = f"a checkpoint of attempt {asked.attempt} of {asked.task_id}"
        if task is None or not task.status.is_live or task.attempt != asked.attempt:
            self._broken(f"{name} was kept, and the task is {task}", "I31")
        before = self._saved.get(asked.task_id)
        if before is not None and (before.attempt > kept.attempt or before.sequence >= kept.sequence):
            self._broken(f"{name}, number {kept.sequence}, came after {before}", "I31")
        self._saved[asked.task_id] = kept
        self.checkpoints += 1

    # What others see

    def wrote(self, key: str, token: int) -> None:
        """Something that remembers tokens took a write: never one of a lock before the last that wrote."""
        number = self._given[key, token].number
        if number < self._written.get(key, 0):
            self._broken(f"lock {number} of {key} wrote after lock {self._written[key]}")
        self._written[key] = number
        self.writes += 1

    def acknowledged(self, saved: Checkpoint) -> None:
        """An attempt has heard that its checkpoint is kept."""
        known = self._acknowledged.get(saved.task_id, 0)
        self._acknowledged[saved.task_id] = max(known, saved.sequence)

    def last_of(self, task_id: str) -> int:
        """Return the number of the last checkpoint that the task has been told is kept."""
        return self._acknowledged.get(task_id, 0)

    def read(self, task_id: str, at_least: int, sequence: int) -> None:
        """Somebody who asked after `at_least` had been acknowledged has read this one as the last."""
        if sequence < at_least:
            self._broken(f"{task_id} read checkpoint {sequence}, and {at_least} was acknowledged", "I31")

    def _broken(self, what: str, law: str = "I30") -> None:
        self._story.violation(law, what)
