"""Records on their way from runtimes and files: several containers' joined, others let have their turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from heapq import heapify, heappop, heappush

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord, size_of
from podling.worker.log_files import PIECE_BYTES


async def singly(pieces: AsyncIterator[Sequence[LogRecord]]) -> AsyncIterator[LogRecord]:
    async for piece in pieces:
        for record in piece:
            yield record


async def in_pieces(records: AsyncIterator[LogRecord]) -> AsyncIterator[list[LogRecord]]:
    """Yield records by about PIECE_BYTES, letting others have a turn: who has much to say never waits."""
    piece: list[LogRecord] = []
    size = 0
    try:
        async for record in records:
            piece.append(record)
            size += size_of(record)
            if size >= PIECE_BYTES:
                yield piece
                await asyncio.sleep(0)
                piece, size = [], 0
    except RuntimeFailure:
        if piece:
            yield piece  # what came before the failure may be all that there ever is
        raise
    if piece:
        yield piece


async def in_order(sources: Sequence[AsyncIterator[LogRecord]]) -> AsyncIterator[LogRecord]:
    """Yield the records of several containers in the order of time, holding one of each."""
    first = [(await anext(source, None), index) for index, source in enumerate(sources)]
    heads = [(record.at, index, record) for record, index in first if record is not None]
    heapify(heads)
    while heads:
        _, index, record = heappop(heads)
        yield record
        if (following := await anext(sources[index], None)) is not None:
            heappush(heads, (following.at, index, following))


async def joined(sources: Sequence[AsyncGenerator[LogRecord, None]]) -> AsyncGenerator[LogRecord, None]:
    """Yield what several sources yield, as it comes."""
    if len(sources) == 1:
        async for record in sources[0]:
            yield record
        return
    queue: asyncio.Queue[LogRecord | RuntimeFailure | None] = asyncio.Queue(100)
    pumps = [asyncio.create_task(_pump(source, queue)) for source in sources]
    try:
        left = len(pumps)
        while left:
            item = await queue.get()
            if isinstance(item, RuntimeFailure):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    source: AsyncIterator[LogRecord], queue: "asyncio.Queue[LogRecord | RuntimeFailure | None]"
) -> None:
    end: RuntimeFailure | None = None
    try:
        async for record in source:
            await queue.put(record)
    except RuntimeFailure as failure:
        end = failure
    await queue.put(end)
