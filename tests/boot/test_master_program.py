"""The program podling-master: how it stops while work is in hand."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from podling.core.protocol import PROTOCOL_VERSION
from podling.wire.session import Goodbye, Hello, Welcome, pack, unpack

PROGRAM = Path(__file__).parents[2] / "cmd" / "master" / "main.py"
BODY = json.dumps({"name": "job", "image": "none"}).encode()


@dataclass
class Started:
    program: Process
    url: str
    port: int


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[Started]:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--data-dir", str(data_dir), "--port", "0"),
        stdout=PIPE,
        stderr=PIPE,
        cwd=data_dir.parent,
    )
    try:
        url = await _address(program)
        yield Started(program, url, int(url.rpartition(":")[2]))
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def _told(program: Process, words: str) -> str:
    """Return the next line of the log with these words."""
    assert program.stderr is not None
    async with asyncio.timeout(20.0):
        while words not in (line := (await program.stderr.readline()).decode()):
            assert line, f"the program ended without saying {words!r}"
    return line


async def _address(program: Process) -> str:
    line = await _told(program, "listening on ")
    return line.partition("listening on ")[2].partition(",")[0]


async def _half_sent(master: Started) -> asyncio.StreamWriter:
    """Begin a submit, and hold back the end of its body."""
    _, writer = await asyncio.open_connection("127.0.0.1", master.port)
    head = f"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
    writer.write(head.encode() + BODY[:-1])
    await writer.drain()
    async with aiohttp.ClientSession() as http, http.get(f"{master.url}/health") as answer:
        assert answer.status == 200  # so what was sent before it has arrived
    return writer


async def test_workers_are_sent_on_at_a_stop(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as master, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{master.url}/api/v1/nodes/node-1/session") as session:
            hello = Hello(
                protocol_version=PROTOCOL_VERSION,
                instance="one",
                hostname="one.test",
                port=8071,
                capacity={"slots": 1},
                allocatable={"slots": 1},
                runtimes=("docker",),
            )
            await session.send_str(pack(hello))
            assert isinstance(unpack(await session.receive_str(timeout=10)), Welcome)
            master.program.send_signal(signal.SIGTERM)
            goodbye = unpack(await session.receive_str(timeout=10))
            assert goodbye == Goodbye(reason="the master is stopping", reconnect=True)
        async with asyncio.timeout(20.0):
            assert await master.program.wait() == 0


async def _unread(master: Started) -> socket.socket:
    """Ask for more than the connection can hold, and take none of the answer but its beginning."""
    tasks = [{"name": "job", "image": "none", "env": {"LONG": "x" * 30_000}}] * 100
    async with aiohttp.ClientSession() as http:
        for _ in range(4):
            async with http.post(f"{master.url}/api/v1/tasks:batch", json={"tasks": tasks}) as answer:
                assert answer.status == 200
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, ("127.0.0.1", master.port))
    await loop.sock_sendall(reader, b"GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(20.0):
        assert await loop.sock_recv(reader, 1) == b"H"
    return reader


async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    """The first one waits for an answer that nobody takes."""
    async with started(tmp_path / "data") as master:
        reader = await _unread(master)
        master.program.send_signal(signal.SIGTERM)
        await _told(master.program, "stopping; containers go on")
        assert master.program.returncode is None
        master.program.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5.0):
            assert await master.program.wait() == 1
        reader.close()
