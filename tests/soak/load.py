"""Submits the mix at its pace, through any master, and again until it is answered."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from podling.client import AsyncClient, tasks
from podling.client.call import Call, JsonObject
from podling.core.errors import Conflict, InvalidInput, NotFound, PodlingError
from tests.soak.check import Accepted
from tests.soak.cluster import RUN_VARIABLE, VOLUME, Cluster
from tests.soak.mix import Work, draw, spec_of

SUBMITTERS = 24
GIVE_UP_SECONDS = 180.0
_PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Load:
    """`stop` ends the submits of new tasks; what was begun is finished."""

    cluster: Cluster
    ids: dict[str, set[str]] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    by_runtime: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    repeated: int = 0
    _number: int = 0
    _dice: random.Random = field(default_factory=random.Random)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def accepted(self) -> list[Accepted]:
        return [Accepted(self.works[name], frozenset(ids)) for name, ids in self.ids.items() if ids]

    def stop(self) -> None:
        self._stopping.set()

    def go_on(self) -> None:
        """Let `run` be called again."""
        self._stopping.clear()

    async def run(self) -> None:
        """Submit until `stop`, then finish what was begun."""
        queue: asyncio.Queue[Work | None] = asyncio.Queue(SUBMITTERS * 4)
        async with asyncio.TaskGroup() as group:
            submitters = [group.create_task(self._submitter(queue)) for _ in range(SUBMITTERS)]
            await self._pace(queue)
            for _ in submitters:
                await queue.put(None)

    async def _pace(self, queue: "asyncio.Queue[Work | None]") -> None:
        settings, begin, first = self.cluster.settings, time.monotonic(), self._number
        while not self._stopping.is_set():
            due = begin + (self._number - first) / settings.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await queue.put(draw(settings.seed, self._number, self.cluster.runtimes))
            self._number += 1

    async def _submitter(self, queue: "asyncio.Queue[Work | None]") -> None:
        cancels: set[asyncio.Task[None]] = set()
        while (work := await queue.get()) is not None:
            await self._submit(work)
            if work.cancel_after is not None:
                cancels.add(cancel := asyncio.create_task(self._cancel(work, work.cancel_after)))
                cancel.add_done_callback(cancels.discard)
        await asyncio.gather(*cancels)

    async def _submit(self, work: Work) -> None:
        self.works[work.name] = work
        ids = self.ids.setdefault(work.name, set())
        spec = spec_of(work, str(self.cluster.ledger), VOLUME, (RUN_VARIABLE, self.cluster.run))
        call = tasks.submit(spec, work.name).patient(0)
        if work.loses_reply:
            # The request is broken off at any moment of its life, then sent again with its key.
            await self._broken_off(call)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            try:
                ids.add(str((await self._any_master().send(call))["taskId"]))
                self.by_runtime[work.runtime] += 1
                return
            except (InvalidInput, Conflict, NotFound) as error:
                self.refused.append(f"{work.name}: {error.message}")
                return
            except PodlingError:
                self.repeated += 1
            await asyncio.sleep(_PAUSE_SECONDS)
        self.refused.append(f"{work.name} was not answered for {GIVE_UP_SECONDS:g} s")

    async def _broken_off(self, call: Call[JsonObject]) -> None:
        try:
            await asyncio.wait_for(self._any_master().send(call), self._dice.uniform(0.001, 0.02))
        except (TimeoutError, PodlingError):
            self.repeated += 1

    async def _cancel(self, work: Work, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        for task_id in self.ids[work.name]:
            while time.monotonic() < deadline:
                try:
                    await self._any_master().send(tasks.cancel(task_id))
                    break
                except (Conflict, NotFound):
                    break  # it has ended already
                except PodlingError:
                    await asyncio.sleep(_PAUSE_SECONDS)

    def _any_master(self) -> AsyncClient:
        return self._dice.choice(list(self.cluster.masters.values())).client
