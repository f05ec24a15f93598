"""Masters in this process, and an HTTP client that shows every answer as it is."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp

from podling.core.errors import ConfigurationError
from podling.kit.clock import SystemClock
from podling.master.context import MasterOptions
from podling.master.server import MasterServer
from podling.store.base import Store
from tests.master.fake_worker import PATIENCE_SECONDS, FakeWorker

LEASE_SECONDS = 5.0  # long enough for a machine that is busy with other tests
SHORT_LEASE_SECONDS = 1.0  # for tests that wait for its end
_serial = count(1)


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> Any:
        return self.json["code"]

    @property
    def field(self) -> Any:
        return self.json["details"].get("field")


class Api:
    """Calls below `/api/v1`; a path that begins with `//` is taken from the root."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._http = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=15))

    async def close(self) -> None:
        await self._http.close()

    def address(self, path: str) -> str:
        return self.url + (path[1:] if path.startswith("//") else "/api/v1" + path)

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **options: Any
    ) -> Answer:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        async with self._http.request(method, self.address(path), data=data, **options) as response:
            text = await response.text()
            return Answer(response.status, dict(response.headers), text)

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, body, **options)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.call("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.call("DELETE", path)

    async def submit(self, **fields: Any) -> dict[str, Any]:
        """Submit a task that must be accepted, and return it."""
        answer = await self.post("/tasks", task_body(**fields))
        assert answer.status == 201, answer.text
        return dict(answer.json)

    async def task(self, task_id: str) -> dict[str, Any]:
        answer = await self.get(f"/tasks/{task_id}")
        assert answer.status == 200, answer.text
        return dict(answer.json)

    async def node(self, node_id: str) -> dict[str, Any]:
        answer = await self.get(f"/nodes/{node_id}")
        assert answer.status == 200, answer.text
        return dict(answer.json)

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str] | None = None, **query: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give a response whose body has not been read yet."""
        async with self._http.get(self.address(path), params=query, headers=headers) as response:
            yield response


def task_body(**fields: Any) -> dict[str, Any]:
    return {"name": "job", "image": "busybox:local"} | fields


class RunningMaster:
    """A master that listens, with a client for it."""

    def __init__(self, server: MasterServer, port: int, token: str | None) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self.api = Api(self.url, {"Authorization": f"Bearer {token}"} if token else None)
        self._workers: list[FakeWorker] = []
        self._token = token
        self._stopped = False

    async def worker(self, node_id: str = "node-1", **hello: Any) -> FakeWorker:
        """Return a connected worker; it is closed with the master."""
        worker = self.new_worker(node_id, **hello)
        await worker.connect()
        return worker

    def new_worker(self, node_id: str = "node-1", **hello: Any) -> FakeWorker:
        worker = FakeWorker(self.url, node_id, token=self._token, **hello)
        self._workers.append(worker)
        return worker

    async def until(
        self, task_id: str, condition: Callable[[dict[str, Any]], Any], seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Wait until the task is as it should be, and return it."""
        task: dict[str, Any] = {}
        with self.server.context.feed.watch(task_id) as changed:
            try:
                async with asyncio.timeout(seconds):
                    while not condition(task := await self.api.task(task_id)):
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                raise AssertionError(f"the task did not get there in {seconds} s: {task}") from None
        return task

    async def until_status(self, task_id: str, *statuses: str, seconds: float = PATIENCE_SECONDS) -> Any:
        return await self.until(task_id, lambda task: task["status"] in statuses, seconds)

    async def stop(self) -> None:
        await self.api.close()
        for worker in self._workers:
            await worker.close()
        await self.stop_server()

    async def stop_server(self) -> None:
        """Stop the master alone; its clients and workers see what that is like."""
        if not self._stopped:
            self._stopped = True
            await self.server.stop()


class Masters:
    """Starts masters on stores of one database (or on one memory), and stops them all."""

    def __init__(self, kind: str, make_store: Callable[[], Store]) -> None:
        self.kind = kind
        self.make_store = make_store
        self._running: list[RunningMaster] = []

    async def start(
        self,
        identity: str = "machine-1",
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = 0.1,
        token: str | None = None,
        store: Store | None = None,
        dialable: bool = False,
        host: str = "127.0.0.1",
        **options: Any,
    ) -> RunningMaster:
        """Start one; `dialable` if workers shall reach it where it says."""
        port = _free_port() if dialable else 0
        server = MasterServer(
            MasterOptions(
                advertise_url=f"http://127.0.0.1:{port}" if dialable else f"http://{identity}.test",
                identity=identity,
                master_id=f"{identity}-start-{next(_serial)}",
                version="0.1.0",
                lease_seconds=lease_seconds,
                poll_seconds=poll_seconds,
                token=token,
                **options,
            ),
            store or self.make_store(),
            SystemClock(),
        )
        try:
            bound = await server.start(host, port)
        except ConfigurationError:
            await server.stop()
            raise
        running = RunningMaster(server, bound, token)
        self._running.append(running)
        return running

    async def stop(self) -> None:
        for master in reversed(self._running):
            await master.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask an async condition again and again until it holds; for what gives no signal of its own."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain for {what}") from None
