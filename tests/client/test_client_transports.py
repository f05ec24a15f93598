"""Both clients over real sockets, against the same small master."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from podling.client import AsyncClient, cluster, nodes, tasks
from podling.core.errors import InvalidInput, NotFound, PodlingError, Unavailable
from tests.cli.fake_master import FakeMaster
from tests.client.threaded import Blocking


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    with FakeMaster().running() as fake:
        yield fake


@pytest.fixture(params=[Blocking, AsyncClient], ids=["blocking", "asynchronous"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_submit_find_wait(make: Any, master: FakeMaster) -> None:
    async with make(master.url) as client:
        task = await client.submit({"name": "hello", "image": "box"})
        assert (await client.find("hello"))["taskId"] == task["taskId"]
        master.change(master.tasks[task["taskId"]], status="completed")
        assert (await client.wait(task["taskId"], 20))["status"] == "completed"


async def test_a_lost_reply_gives_the_same_task(make: Any, master: FakeMaster) -> None:
    master.faults = ["drop"]
    async with make(master.url) as client:
        task = await client.submit({"name": "hello", "image": "box"})
    assert list(master.tasks) == [task["taskId"]]
    assert len(master.requests) == 2


async def test_every_read(make: Any, master: FakeMaster) -> None:
    task_id = master.add_task("hello")["taskId"]
    master.cluster = {"version": "1"}
    async with make(master.url) as client:
        assert (await client.send(tasks.listing(name="hello"))).items[0]["taskId"] == task_id
        assert (await client.send(tasks.attempts(task_id))).items[0]["attempt"] == 1
        assert (await client.send(tasks.timeline(task_id))).items == []
        assert (await client.send(tasks.explain(task_id)))["summary"] == "it is pending"
        assert await client.list_all(nodes.listing) == []
        assert await client.send(cluster.read()) == {"version": "1"}
        assert (await client.send(tasks.cancel(task_id)))["status"] == "cancelled"


async def test_a_master_that_hangs_is_left_for_the_next_and_not_asked_again(
    make: Any, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.client.program.NEXT_MASTER_SECONDS", 0.2)
    task_id = master.add_task("hello", status="completed")["taskId"]
    master.outputs[task_id, 1] = b"hi"
    with socket.create_server(("127.0.0.1", 0)) as hung:  # it takes connections and never answers
        address = f"http://127.0.0.1:{hung.getsockname()[1]}"
        async with asyncio.timeout(10), make(f"{address},{master.url}") as client:
            assert (await client.send(tasks.read(task_id)))["name"] == "hello"
            hung.setblocking(False)
            hung.accept()[0].close()
            chunks = [chunk async for chunk in client.stream(tasks.logs(task_id))]
            assert b"".join(chunks) == b"hi"
            with pytest.raises(BlockingIOError):
                hung.accept()


async def test_a_refusal_is_typed(make: Any, master: FakeMaster) -> None:
    async with make(master.url) as client:
        with pytest.raises(NotFound) as caught:
            await client.send(tasks.read("nothing"))
        assert caught.value.code == "task_not_found"
        with pytest.raises(NotFound):
            await anext(client.stream(tasks.logs("nothing")))


async def test_nobody_there_is_unavailable(make: Any) -> None:
    async with make("http://127.0.0.1:9") as client:
        with pytest.raises(Unavailable) as caught:
            await client.send(tasks.read("x"))
        assert caught.value.code == "master_unreachable"
        with pytest.raises(Unavailable):
            await anext(client.stream(tasks.logs("x")))


async def test_a_stream_tells_silence_and_ends(make: Any, master: FakeMaster) -> None:
    task = master.add_task("hello", "running")
    master.outputs[task["taskId"], 1] = b"one\n"
    async with make(master.url) as client:
        chunks = client.stream(tasks.logs(task["taskId"], follow=True), silence_seconds=0.05)
        assert await anext(chunks) == b"one\n"
        assert await anext(chunks) == b""
        master.write(task, b"two\n")
        heard = [chunk async for chunk in _until_end(chunks, master, task)]
    assert b"".join(heard) == b"two\n"


async def _until_end(
    chunks: AsyncIterator[bytes], master: FakeMaster, task: dict[str, Any]
) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
        if chunk:
            master.change(task, status="completed")


async def test_a_large_stream_arrives_whole(make: Any, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed")
    output = b"".join(b"line %d\n" % number for number in range(200_000))
    master.outputs[task["taskId"], 1] = output
    async with make(master.url) as client:
        heard = [chunk async for chunk in client.stream(tasks.logs(task["taskId"]), silence_seconds=20)]
    assert b"".join(heard) == output


async def test_a_token_goes_with_every_request(make: Any, master: FakeMaster) -> None:
    async with make(master.url, token="secret") as client:
        await client.list_all(nodes.listing)
    assert master.requests[0]["headers"]["Authorization"] == "Bearer secret"


@pytest.fixture
def half_answer() -> Iterator[Callable[[bytes], str]]:
    """Serve one connection after another with fixed bytes, then close each."""
    listener = socket.create_server(("127.0.0.1", 0))
    served: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(served[0])

    def start(data: bytes) -> str:
        served.append(data)
        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{",
        b"nonsense\r\n\r\n",
    ],
)
async def test_half_an_answer_is_a_lost_connection(
    make: Any, half_answer: Callable[[bytes], str], data: bytes
) -> None:
    async with make(half_answer(data)) as client:
        with pytest.raises(Unavailable) as caught:
            await client.send(tasks.read("x"))
    assert caught.value.code == "master_unreachable"


async def test_a_stream_that_breaks_off_is_told(make: Any, half_answer: Callable[[bytes], str]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n50\r\ntw"
    heard = b""
    async with make(half_answer(data)) as client:
        with pytest.raises(Unavailable) as caught:
            async for chunk in client.stream(tasks.logs("x")):
                heard += chunk
    assert caught.value.code == "stream_lost"
    assert heard.startswith(b"one\n")


async def test_a_silent_master_has_a_deadline(make: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with make(url, timeout_seconds=0.1) as client:
            with pytest.raises(Unavailable) as caught:
                await client.send(tasks.read("x"))
    assert "no answer in time" in caught.value.message


async def test_a_batch_is_answered_in_order(make: Any, master: FakeMaster) -> None:
    async with make(master.url) as client:
        with pytest.raises((PodlingError, InvalidInput)):
            await client.send(tasks.submit_batch([{"name": "a"}]))
