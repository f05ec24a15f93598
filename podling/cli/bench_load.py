"""A load of equal tasks on a running master: submitted side by side, waited for, measured."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from podling.client import AsyncClient, tasks
from podling.client.call import JsonObject
from podling.core.errors import NotFound, PodlingError
from podling.core.value import value
from podling.kit.figures import percentile

LABEL = "bench-run"
OPEN = ("pending", "scheduled", "running")
_LONGEST_PAUSE_SECONDS = 0.5


@value
class Order:
    """`run` names the tasks of this load, by label and idempotency key, so that none is sent twice."""

    run: str
    spec: Mapping[str, Any]
    tasks: int
    connections: int
    batch: int
    timeout_seconds: float

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """Yield what is submitted at once."""
        labels = {**self.spec.get("labels", {}), LABEL: self.run}
        for first in range(0, self.tasks, self.batch):
            yield [
                {**self.spec, "labels": labels, "idempotencyKey": f"{LABEL}-{self.run}-{number}"}
                for number in range(first, min(first + self.batch, self.tasks))
            ]


class Load:
    """`run` returns the figures; `tell` is given a sentence about how far it is."""

    def __init__(self, client: AsyncClient, order: Order, tell: Callable[[str], None]) -> None:
        self._client = client
        self._order = order
        self._tell = tell
        self._waits: list[float] = []
        self._accepted = 0
        self._refusals: Counter[str] = Counter()

    async def run(self) -> dict[str, float]:
        """Submit, wait for the ends, and count; what has not ended in time is cancelled."""
        begin = time.monotonic()
        await self._submit()
        submitted = time.monotonic()
        is_over = await self._wait(begin + self._order.timeout_seconds)
        ended = time.monotonic()
        if not is_over:
            await self.cancel()
        found = await self._client.list_all(self._listing())
        statuses = Counter(task["status"] for task in found)
        starts = [_milliseconds(task, "startedAt") for task in found if task.get("startedAt")]
        return {
            "tasks": self._order.tasks,
            "accepted": self._accepted,
            "refused": self._order.tasks - self._accepted,
            "completed": statuses["completed"],
            "failed": statuses["failed"],
            "cancelled": statuses["cancelled"],
            "submit_rate": self._accepted / max(submitted - begin, 1e-9),
            "submit_ms_p50": percentile(self._waits, 50),
            "submit_ms_p99": percentile(self._waits, 99),
            "rate": statuses["completed"] / max(ended - begin, 1e-9),
            "start_ms_p50": percentile(starts, 50),
            "start_ms_p99": percentile(starts, 99),
            "seconds": ended - begin,
        }

    async def _submit(self) -> None:
        chunks = self._order.chunks()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._order.connections):
                group.create_task(self._submit_from(chunks))
        for refusal, count in self._refusals.most_common(3):
            self._tell(f"{count} refused: {refusal}")

    async def _submit_from(self, chunks: Iterator[list[dict[str, Any]]]) -> None:
        for chunk in chunks:
            begin = time.monotonic()
            answers = await self._send(chunk)
            self._waits.append((time.monotonic() - begin) * 1000)
            for answer in answers:
                if "taskId" in answer:
                    self._accepted += 1
                else:
                    self._refusals[str(answer.get("error"))] += 1

    async def _send(self, chunk: list[dict[str, Any]]) -> list[JsonObject]:
        if len(chunk) > 1:
            return await self._client.send(tasks.submit_batch(chunk))
        try:
            return [await self._client.send(tasks.submit(chunk[0], chunk[0]["idempotencyKey"]))]
        except PodlingError as error:
            if error.code == "master_unreachable":
                raise
            return [{"error": error.message}]

    async def _wait(self, until: float) -> bool:
        """Return whether all ended in time."""
        pause = 0.02
        while page := (await self._client.send(self._listing(OPEN)(limit=1))).items:
            if time.monotonic() > until:
                self._tell(f"not all ended in time, such as {page[0]['taskId']}, which is cancelled now")
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.4, _LONGEST_PAUSE_SECONDS)
        return True

    async def cancel(self) -> None:
        """Cancel what has not ended."""
        for task in await self._client.list_all(self._listing(OPEN)):
            try:
                await self._client.send(tasks.cancel(task["taskId"]))
            except NotFound:
                continue  # retention was quicker

    def _listing(self, statuses: tuple[str, ...] = ()) -> Callable[..., Any]:
        return partial(tasks.listing, statuses=statuses, labels=(f"{LABEL}={self._order.run}",))


def _milliseconds(task: JsonObject, field: str) -> float:
    """Return when that was, from its submission, by the masters' and workers' clocks."""
    span = datetime.fromisoformat(task[field]) - datetime.fromisoformat(task["createdAt"])
    return max(0.0, span.total_seconds() * 1000)
