"""The relay spoils what it is told to, of whom it is told to, and nothing afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import pytest

from tests.soak.spoiled_relay import EVERYBODY, SpoiledRelay, Spoiling

SECONDS = 5.0
REQUEST = b"GET /api/v1/nodes/docker-1/session HTTP/1.1\r\n\r\n"


class Echo:
    """A server that sends everything back and keeps what it got."""

    def __init__(self) -> None:
        self.got = b""
        self.news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1024):
                async with self.news:
                    self.got += chunk
                    self.news.notify_all()
                writer.write(chunk)
        writer.close()

    async def until_got(self, word: bytes) -> None:
        async with asyncio.timeout(SECONDS), self.news:
            await self.news.wait_for(lambda: word in self.got)


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def relay(echo: Echo) -> AsyncIterator[SpoiledRelay]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    relay = SpoiledRelay(partial(asyncio.open_connection, *server.sockets[0].getsockname()))
    await relay.open()
    yield relay
    await relay.close()
    server.close()


async def dialled(relay: SpoiledRelay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as the worker docker-1, and see that the line works."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(REQUEST)
    assert await read(reader, len(REQUEST)) == REQUEST
    return reader, writer


async def read(reader: asyncio.StreamReader, count: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(count), SECONDS)


async def is_over(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), SECONDS) == b""
    return True


@pytest.mark.parametrize("node", ["docker-1", EVERYBODY])
async def test_a_cut_line_ends_and_no_new_one_is_taken(relay: SpoiledRelay, node: str) -> None:
    reader, _ = await dialled(relay)
    relay.spoil(node, Spoiling.CUT)
    assert await is_over(reader)
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(REQUEST)
    assert await is_over(reader)
    relay.heal(node)
    await dialled(relay)


@pytest.mark.parametrize("spoiling", [Spoiling.PARTITION, Spoiling.ONE_WAY_UP, Spoiling.ONE_WAY_DOWN])
async def test_what_is_held_back_arrives_afterwards(
    relay: SpoiledRelay, echo: Echo, spoiling: Spoiling
) -> None:
    reader, writer = await dialled(relay)
    relay.spoil("docker-1", spoiling)
    writer.write(b"one")
    if spoiling is Spoiling.ONE_WAY_DOWN:
        await echo.until_got(b"one")
    other, elsewhere = await asyncio.open_connection("127.0.0.1", relay.port)
    elsewhere.write(b"somebody else")
    assert await read(other, 13) == b"somebody else"
    assert (b"one" in echo.got) == (spoiling is Spoiling.ONE_WAY_DOWN)
    relay.heal("docker-1")
    assert await read(reader, 3) == b"one"


async def test_a_lost_reply_was_heard_and_never_arrives(relay: SpoiledRelay, echo: Echo) -> None:
    reader, writer = await dialled(relay)
    relay.spoil("docker-1", Spoiling.LOSE_REPLIES)
    writer.write(b"one")
    await echo.until_got(b"one")
    relay.heal("docker-1")
    assert await is_over(reader)


async def test_a_half_closed_line_ends_for_the_server_first(relay: SpoiledRelay) -> None:
    reader, _ = await dialled(relay)
    relay.spoil("docker-1", Spoiling.HALF_CLOSE)
    assert await is_over(reader)
    relay.heal("docker-1")
    await dialled(relay)
