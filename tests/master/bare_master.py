"""A master without its server: parts on a store in memory, under a clock that a test moves."""

from collections.abc import Callable, Sequence
from datetime import datetime

from podling.core.node import Node
from podling.core.task import Task
from podling.master.context import MasterContext, MasterOptions, build
from podling.master.loops.scheduler import Scheduler
from podling.store.base import Batch, WriteResult
from podling.store.memory.store import MemoryStore
from tests.builders import at, build_batch, ended, insertion

EPOCH = 1
MANY = 100  # pages; no pass of these tests needs as many


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return at(self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class WatchedStore(MemoryStore):
    """Calls `before_page` before every page, and `before_commit` before every commit of a leader."""

    def __init__(self, **bounds: int) -> None:
        super().__init__(**bounds)
        self.before_page: Callable[[], None] = lambda: None
        self.before_commit: Callable[[Batch], None] = lambda batch: None
        self.pages = 0

    async def ready_page(self, limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        self.pages += 1
        assert self.pages < MANY, "the pass does not end"
        self.before_page()
        return await super().ready_page(limit, skip_task_ids)

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        if batch.epoch is not None:
            self.before_commit(batch)
        return await super().commit(batch)


class Leader:
    """A master that leads, without its server."""

    def __init__(self, store: WatchedStore | None = None, name: str = "one") -> None:
        self.store = store or WatchedStore()
        self.clock = ManualClock()
        self.context: MasterContext = build(
            MasterOptions(
                advertise_url=f"http://{name}.test", identity=name, master_id=f"m-{name}", version="0"
            ),
            self.store,
            self.clock,
        )
        self.scheduler = Scheduler(self.context)

    async def lead(self) -> None:
        epoch = await self.store.take_leadership("one", await self.store.leadership())
        assert epoch == EPOCH
        self.context.lead(epoch)

    def put(self, *nodes: Node) -> None:
        for node in nodes:
            self.context.view.put_node(node)

    async def submit(self, *tasks: Task) -> None:
        await self.store.commit(build_batch([insertion(task) for task in tasks]))

    async def stored(self, task: Task) -> Task:
        return (await self.store.load_tasks([task.task_id]))[task.task_id]

    async def end(self, task: Task) -> None:
        """Have the task's worker tell its good end."""
        await self.context.committer.apply(task.task_id, ended(await self.stored(task)))
