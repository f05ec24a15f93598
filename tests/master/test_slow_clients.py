"""Clients that keep a master waiting, and more of them than it has places for."""

import asyncio
import errno
import select
import socket

import pytest

from tests.master.bad_input.rows import head
from tests.master.masters import Masters, RunningMaster, eventually

HEALTH = head("GET", "/health")
DRIPPING = HEALTH[:-2]  # the end of its headers is missing
BODY = head("POST", "/api/v1/tasks", "Content-Length: 50") + b"{"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(master: RunningMaster, start: bytes) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(master.url.rpartition(":")[2]))
    writer.write(start)
    return reader, writer


async def _rest(connection: Connection) -> bytes:
    """Return what comes until the master hangs up."""
    reader, writer = connection
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def _is_answered(connection: Connection) -> bool:
    async with asyncio.timeout(10):
        answer = await connection[0].readuntil(b'{"status":"ok"}')
    return answer.startswith(b"HTTP/1.1 200 OK")


async def test_headers_that_drip_are_cut_off_and_a_connection_in_use_is_not(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.kit.connection.HEADERS_SECONDS", 0.3)
    master = await masters.start()
    used, dripping = await _connect(master, HEALTH), await _connect(master, DRIPPING)
    assert await _is_answered(used)
    assert await _rest(dripping) == b""
    used[1].write(HEALTH)
    assert await _is_answered(used)
    used[1].close()


async def test_the_headers_of_a_second_request_may_not_drip_either(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.kit.connection.KEEP_ALIVE_SECONDS", 0.3)
    master = await masters.start()
    connection = await _connect(master, HEALTH + DRIPPING)
    assert (await _rest(connection)).count(b"200 OK") == 1


async def test_a_body_that_drips_is_told_so_and_cut_off(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.api.admission.BODY_SECONDS", 0.2)
    monkeypatch.setattr("podling.kit.connection.LINGERING_SECONDS", 0.1)
    master = await masters.start()
    answer = await _rest(await _connect(master, BODY))
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"request_timeout"' in answer


@pytest.mark.parametrize(
    ("start", "rest", "says"),
    [
        (b"", b"zz\r\n", b"must begin with its size"),
        (b"2\r\n", b"abc\r\n", b"longer than its size"),
        (b"1\r\n{\r\n0\r\n", b"A: b\r\n" * 500, b"more than 128 headers, or trailers"),
    ],
)
async def test_a_body_that_goes_on_wrongly_is_told_so_at_once(
    master: RunningMaster, start: bytes, rest: bytes, says: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await _connect(master, head("POST", "/api/v1/tasks", "Transfer-Encoding: chunked") + start)

    async def is_awaited() -> bool:
        return bool(master.server.admission._arriving)

    await eventually(is_awaited, "the rest of the body to be waited for")
    connection[1].write(rest)
    async with asyncio.timeout(5):
        answer = await _rest(connection)
    assert answer.startswith(b"HTTP/1.1 400 ") and says in answer and answer.count(b"HTTP/1.1") == 1
    assert not [line for line in caplog.records if line.levelname == "ERROR" or line.exc_info]


async def test_who_takes_nothing_of_an_answer_is_cut_off(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.kit.connection.WRITE_SECONDS", 0.5)
    master = await masters.start()
    task = {"name": "large", "image": "none", "env": {"A": "x" * 100_000}}
    for _ in range(3):
        assert (await master.api.post("/tasks:batch", {"tasks": [task] * 30})).status == 200
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", int(master.url.rpartition(":")[2])))
        greedy.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(greedy, head("GET", "/api/v1/tasks"))
        await _hung_up_on(greedy)


async def _hung_up_on(connection: socket.socket) -> None:
    """Wait for a reset without reading anything."""
    with select.epoll() as events:
        events.register(connection, select.EPOLLERR)
        await asyncio.to_thread(events.poll, 8)
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


async def test_a_newcomer_is_served_and_the_slowest_has_to_go(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.door.MOST_CONNECTIONS", 3)
    master = await masters.start()
    first, second, third = [await _connect(master, start) for start in (b"", DRIPPING, BODY)]
    newcomer = await _connect(master, HEALTH)
    assert await _is_answered(newcomer)
    assert await _rest(first) == b""
    for connection in (second, third, newcomer):
        connection[1].close()


async def test_a_worker_gets_in_when_all_places_are_taken_and_keeps_its_session(
    masters: Masters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.master.door.MOST_CONNECTIONS", 3)
    master = await masters.start()
    slow = [await _connect(master, DRIPPING) for _ in range(5)]
    worker = await master.worker()
    more = [await _connect(master, DRIPPING) for _ in range(10)]
    assert await _rest(slow[-1]) == b""
    await worker.acknowledged(await worker.beat_once())
    assert not worker.closed
    for connection in more:
        connection[1].close()
