"""An observer that tests can wait on."""

import asyncio
from collections.abc import Callable

from podling.core.logrecord import LogRecord, Stream
from podling.core.spec import ContainerSpec
from podling.core.task import HealthStatus
from podling.worker.runtime.base import Condition, ContainerWork, Found, Gone, Runtime

DEADLINE_SECONDS = 60.0


class Recorder:
    """Keeps what it was told, and wakes who waits for more."""

    def __init__(self) -> None:
        self.told: list[Found | Gone] = []
        self._news = asyncio.Condition()
        self._wakes: set[asyncio.Task[None]] = set()

    def __call__(self, news: Found | Gone) -> None:
        self.told.append(news)
        wake = asyncio.ensure_future(self._wake())
        self._wakes.add(wake)
        wake.add_done_callback(self._wakes.discard)

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def exit_of(self, container_id: str, count: int = 1) -> Found:
        """Return the count-th exit that was told of a container."""
        await self._until(lambda: len(self._exits(container_id)) >= count)
        return self._exits(container_id)[count - 1]

    async def gone(self, container_id: str) -> Gone:
        """Return the news that a container has vanished."""
        await self._until(lambda: bool(self._gone(container_id)))
        return self._gone(container_id)[0]

    async def judged(self, container_id: str, health: HealthStatus) -> None:
        """Return once this health of a container that runs was told."""
        running = (container_id, Condition.RUNNING, health)
        await self._until(
            lambda: any(
                (one.container_id, one.condition, one.health) == running
                for one in self.told
                if isinstance(one, Found)
            )
        )

    def _exits(self, container_id: str) -> list[Found]:
        found = [news for news in self.told if isinstance(news, Found)]
        return [f for f in found if f.container_id == container_id and f.condition is Condition.EXITED]

    def _gone(self, container_id: str) -> list[Gone]:
        return [news for news in self.told if isinstance(news, Gone) and news.container_id == container_id]

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(holds)


def work_of(
    name: str, container: ContainerSpec, *, task_id: str = "task-1", attempt: int = 1, network: str = "none"
) -> ContainerWork:
    """Return a piece of work as the agent hands it to a runtime."""
    return ContainerWork(
        engine_name=name, task_id=task_id, attempt=attempt, container=container, network=network
    )


async def run(runtime: Runtime, recorder: Recorder, work: ContainerWork) -> Found:
    """Prepare, start, and return the exit."""
    prepared = await runtime.prepare(work)
    await runtime.start(prepared.container_id)
    return await recorder.exit_of(prepared.container_id)


async def output_of(runtime: Runtime, container_id: str, *, follow: bool = False) -> list[LogRecord]:
    """Return all records of a container's output."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [record async for record in runtime.logs(container_id, follow=follow)]


def text_of(records: list[LogRecord], stream: Stream = Stream.STDOUT) -> bytes:
    """Return one stream's bytes."""
    return b"".join(record.data for record in records if record.stream is stream)
