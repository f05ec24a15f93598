"""Group commit without a timer: what arrives while one batch is written makes up the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Group(Generic[_Result]):
    """The results of items that were put together; they may come in several batches."""

    def __init__(self, size: int) -> None:
        self.all: asyncio.Future[Sequence[_Result | Exception]] = asyncio.get_running_loop().create_future()
        self._results: dict[int, _Result | Exception] = {}
        self._size = size

    def put(self, index: int, result: _Result | Exception) -> None:
        self._results[index] = result
        if len(self._results) == self._size and not self.all.done():
            self.all.set_result([self._results[index] for index in range(self._size)])


class Batcher(Generic[_Item, _Result]):
    """Joins single calls of `put` into calls of `write(items)`, one at a time.

    `write` returns one result per item, an exception as a result being raised to that caller; if it
    raises itself, every caller of the batch gets that exception.
    """

    def __init__(
        self, write: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result | Exception]]], most: int
    ) -> None:
        self._write = write
        self._most = most
        self._waiting: deque[tuple[_Item, Callable[[_Result | Exception], None]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many items have not got into a batch yet."""
        return len(self._waiting)

    async def put(self, item: _Item) -> _Result:
        """Return the item's result once its batch is written."""
        return await self.enqueue(item)

    def enqueue(self, item: _Item) -> "asyncio.Future[_Result]":
        """Like `put`, for a caller that waits for many at once."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, partial(_settle, future)))
        self._begin()
        return future

    async def put_all(self, items: Sequence[_Item]) -> Sequence[_Result | Exception]:
        """Return the items' results once all are written, one future for all of them."""
        if not items:
            return ()
        group: _Group[_Result] = _Group(len(items))
        self._waiting.extend((item, partial(group.put, index)) for index, item in enumerate(items))
        self._begin()
        return await group.all

    def _begin(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Wait until everything that was put has been written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # callers that are ready now join this batch
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[_Item, Callable[[_Result | Exception], None]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            results = [error] * len(batch)
        for (_, settle), result in zip(batch, results, strict=True):
            settle(result)


def _settle(future: "asyncio.Future[_Result]", result: _Result | Exception) -> None:
    if future.done():
        return  # the caller has gone
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
