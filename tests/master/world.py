"""Masters' contexts on one store and a clock that stands still until it is moved."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, cast

from podling.core.errors import StoreUnavailable
from podling.core.lifecycle import Assign
from podling.core.task import Task
from podling.master.committer import Happening
from podling.master.context import MasterContext, MasterOptions, build
from podling.master.inserts import Insert
from podling.master.loops.election import Election
from podling.store.base import Store
from podling.wire.session import Hello
from tests.builders import NOW, build_task

LEASE = 10.0
HELLO = Hello(
    protocol_version=2,
    instance="start 1",
    hostname="a.test",
    port=8071,
    capacity={"slots": 1},
    allocatable={"slots": 1},
    runtimes=("simulated",),
)


class ManualClock:
    """`stepped` is by how much somebody has set the wall clock, which moves nothing else."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.stepped = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed + self.stepped)

    def monotonic(self) -> float:
        return self.passed


class Faulty:
    """A store that does what a test wants at one method, and what it always does at the others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in self.before and name not in self.after:
            return real

        async def call(*arguments: Any, **named: Any) -> Any:
            if name in self.before:
                await self.before[name]()
            answer = await real(*arguments, **named)
            if name in self.after:
                await self.after[name]()
            return answer

        return call


async def away() -> None:
    raise StoreUnavailable("away")


class World:
    """Contexts of masters on one store, without servers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock()

    def context(self, name: str = "one", store: Any = None, lease_seconds: float = LEASE) -> MasterContext:
        options = MasterOptions(
            advertise_url=f"http://{name}",
            identity=name,
            master_id=f"{name}-start",
            version="0.1.0",
            lease_seconds=lease_seconds,
        )
        return build(options, cast(Store, store or self.store), self.clock, lambda: 0.5)

    async def leader(self, name: str = "one", store: Any = None) -> MasterContext:
        context = self.context(name, store)
        await Election(context).run_once()
        assert context.leads
        return context


async def insert(context: MasterContext, **fields: Any) -> Task:
    task = await context.committer.insert(Insert(build_task(**fields), "hash"))
    assert isinstance(task, Task)
    return task


async def assigned(context: MasterContext, node_id: str = "node-1", **fields: Any) -> Task:
    task = await insert(context, **fields)
    (answer,) = await context.committer.apply_as_leader([Happening(task.task_id, Assign(node_id=node_id))])
    assert isinstance(answer, Task)
    return answer
