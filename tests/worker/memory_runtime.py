"""A runtime in memory: containers end when the test says so, and print what it says."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord, Stream
from podling.core.retry import ErrorCode
from podling.core.task import HealthStatus
from podling.worker.runtime.base import Condition, ContainerWork, Found, Gone, LogLimit, Observer


class MemoryRuntime:
    """`containers` outlives `close`, as an engine outlives a worker."""

    name = "docker"
    knows_every_start = False
    answers_at_once = False

    def __init__(self) -> None:
        self.log_limit: LogLimit | None = None
        self.containers: dict[str, Found] = {}
        self.output: dict[str, list[LogRecord]] = {}
        self.starts: list[str] = []
        self.stops: list[tuple[str, float]] = []
        self.stopped = asyncio.Event()  # for the first time
        self.problem: str | None = None
        self.failing: dict[str, RuntimeFailure] = {}  # by the call's name
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.may_prepare = asyncio.Event()
        self.may_prepare.set()
        self.exits_on_stop: int | None = 143
        self._tell: Observer | None = None
        self._grown = asyncio.Event()

    async def open(self, observer: Observer) -> None:
        await self.may_open.wait()
        self._tell = observer

    async def close(self) -> None:
        self._tell = None

    async def check(self) -> str | None:
        return self.problem

    def detected_capacity(self) -> Mapping[str, int]:
        return {"cpu": 4000, "memory": 1 << 33}

    async def inventory(self) -> Sequence[Found]:
        self._fail("inventory")
        return list(self.containers.values())

    def _fail(self, call: str) -> None:
        if call in self.failing:
            raise self.failing[call]

    async def prepare(self, work: ContainerWork) -> Found:
        await self.may_prepare.wait()
        self._fail("prepare")
        if work.engine_name not in self.containers:
            self.containers[work.engine_name] = Found(
                engine_name=work.engine_name,
                container_id=work.engine_name,
                task_id=work.task_id,
                attempt=work.attempt,
                container_name=work.container.name,
                condition=Condition.CREATED,
                gpus=work.gpus,
            )
        return self.containers[work.engine_name]

    async def start(self, container_id: str) -> Found:
        self._fail("start")
        if self.there(container_id).condition is not Condition.CREATED:
            return self.there(container_id)
        return await self.restart(container_id)

    async def restart(self, container_id: str) -> Found:
        self.starts.append(container_id)
        found = replace(
            self.there(container_id),
            condition=Condition.RUNNING,
            started_at=datetime.now(UTC),
            finished_at=None,
            exit_code=None,
            health=HealthStatus.UNKNOWN,
        )
        self.containers[container_id] = found
        return found

    async def stop(self, container_id: str, signal: str | None, grace_seconds: float) -> None:
        self.stops.append((container_id, grace_seconds))
        self.stopped.set()
        if self.exits_on_stop is not None:
            self.end(container_id, self.exits_on_stop)

    async def remove(self, container_id: str) -> None:
        self.containers.pop(container_id, None)

    async def logs(
        self, container_id: str, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncIterator[LogRecord]:
        self.there(container_id)
        read = 0
        while True:
            records = self.output.get(container_id, [])
            for record in records[read:]:
                if since is None or record.at >= since:
                    yield record
            read = len(records)
            if not follow or self.there(container_id).condition is not Condition.RUNNING:
                return
            await self._grown.wait()

    # What the test does

    def there(self, container_id: str) -> Found:
        if container_id not in self.containers:
            raise RuntimeFailure("The container is not there any more.", code=ErrorCode.EXTERNAL)
        return self.containers[container_id]

    def one(self) -> str:
        (container_id,) = self.containers
        return container_id

    def write(self, container_id: str, text: str) -> None:
        record = LogRecord(at=datetime.now(UTC), stream=Stream.STDOUT, data=text.encode())
        self.output.setdefault(container_id, []).append(record)
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def end(self, container_id: str, exit_code: int) -> None:
        found = replace(
            self.there(container_id),
            condition=Condition.EXITED,
            finished_at=datetime.now(UTC),
            exit_code=exit_code,
        )
        self.containers[container_id] = found
        self._wake()
        if self._tell is not None:
            self._tell(found)

    def judge(self, container_id: str, health: HealthStatus) -> None:
        self.containers[container_id] = found = replace(self.there(container_id), health=health)
        if self._tell is not None:
            self._tell(found)

    def remove_by_hand(self, container_id: str) -> None:
        found = self.containers.pop(container_id)
        if self._tell is not None:
            self._tell(
                Gone(
                    engine_name=container_id,
                    container_id=container_id,
                    task_id=found.task_id,
                    attempt=found.attempt,
                    container_name=found.container_name,
                )
            )
