"""Programs that submit and cancel by SQL: what they have committed is in the inbox, whoever leads then."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from podling.kit.ids import new_id
from podling.store.base import Store
from podling.store.ports.inbox import InboxKind
from podling.wire.codec import encode
from podling.wire.schedules import spec_view
from tests.sim.laws import Laws
from tests.sim.loop import run_at_once
from tests.sim.specs import random_spec, short_spec
from tests.sim.story import Story

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MOST_IN_ONE = 20


class Producers:
    """`act` is one transaction. It has its effect at once, and nobody is asked: masters find it there."""

    def __init__(self, store: Store, now: Callable[[], float], story: Story, laws: Laws, seed: str) -> None:
        self._store = store
        self._now = now
        self._story = story
        self._laws = laws
        self._chance = random.Random(f"{seed} producers")
        self.task_ids: list[str] = []
        self._keys = 0
        self.cancels = 0

    def act(self) -> None:
        dice = self._chance.random()
        if dice < 0.25 and self.task_ids:
            self.cancels += 1
            self._put(InboxKind.CANCEL, self._chance.choice(self.task_ids[-MOST_IN_ONE:]), b"{}")
        elif dice < 0.35:
            self._submit_twice()
        else:
            for _ in range(self._chance.choice((1, 1, 2, MOST_IN_ONE))):
                self._submit(None)

    def pause(self) -> float:
        """Return for how long nobody does anything."""
        return self._chance.expovariate(1 / 2.0)

    def waiting(self) -> int:
        """Return how much nobody has taken in yet."""
        return int(run_at_once(self._store.inbox.depth(10_000)).items)

    def _submit_twice(self) -> None:
        """The same under one key is one task that runs, and another that names it."""
        self._keys += 1
        for _ in range(2):
            self._submit(f"sql-{self._keys}")

    def _submit(self, key: str | None) -> None:
        spec = short_spec() if key or self._chance.random() < 0.5 else random_spec(self._chance)
        if len(spec.containers) > 1:
            spec = short_spec()
        task_id = new_id(BEGAN + timedelta(seconds=self._now()), self._chance.getrandbits)
        self._put(InboxKind.SUBMIT, task_id, encode(spec_view(replace(spec, idempotency_key=key))))
        self.task_ids.append(task_id)
        self._laws.left(task_id, key)

    def _put(self, kind: InboxKind, task_id: str, body: bytes) -> None:
        self._story.tell("sql", leaves=kind.value, task=task_id)
        run_at_once(self._store.inbox.put(kind, task_id, body.decode()))
