"""Calls to one Docker engine: on a bounded number of threads, each with a deadline."""

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

import requests
import urllib3
from docker import APIClient
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException
from docker.transport import UnixHTTPAdapter
from docker.types import CancellableStream
from docker.utils import kwargs_from_env

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.worker.instruments import docker_calls, docker_failures
from podling.worker.runtime.meter import current_meter
from podling.worker.runtime.threads import Threads

CALL_SECONDS = 120.0
PING_SECONDS = 3.0
SILENT_SECONDS = 60.0  # far more than any question takes that is asked here
CONNECT_SECONDS = 5.0
CHUNK_BYTES = 64 * 1024
PUMP_BYTES = 1024 * 1024
_UNIX_BASE_URL = "http+docker://localhost"

_T = TypeVar("_T")


class Refused(RuntimeFailure):
    """The engine answered no; `status` is its HTTP status, the message its own sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, code=ErrorCode.RUNTIME)
        self.status = status


class _SharedConnections(UnixHTTPAdapter):
    """The SDK keeps connections apart by path, hence some for every container; here they are shared."""

    def get_connection(self, url: str | bytes, proxies: object = None) -> Any:
        return super().get_connection(_UNIX_BASE_URL, proxies)


class Engine:
    """One Docker engine, at `host` or where DOCKER_HOST says, or at the default socket.

    Calls, streams, pulls and the health check have threads of their own, so that none of them can
    starve another.
    """

    def __init__(self, host: str | None = None, *, threads: int = 16, streams: int = 512) -> None:
        self._host = host
        self._threads = threads
        self._calls = Threads(threads, "docker-call")
        self._streams = Threads(streams, "docker-stream")
        self._pulls = Threads(4, "docker-pull")
        self._health = Threads(1, "docker-health")
        self.durations, self.failures = docker_calls(), docker_failures()
        self._clients: dict[str, APIClient] = {}
        self._ping: asyncio.Future[bool] | None = None
        self._begun: dict[object, float] = {}
        self._open_streams: weakref.WeakSet[Stream] = weakref.WeakSet()

    async def open(self) -> None:
        """Agree with the engine on a version. Raises RuntimeFailure if none answers."""
        await self._run(self._calls, "version", self._connect, CALL_SECONDS)

    def _connect(self) -> None:
        first = self._client("auto", self._threads, CALL_SECONDS)
        version = first.api_version
        self._clients = {
            "call": first,
            "stream": self._client(version, 4, CALL_SECONDS),
            "health": self._client(version, 1, PING_SECONDS),
        }

    def _client(self, version: str, connections: int, seconds: float) -> APIClient:
        settings = kwargs_from_env()
        if self._host:
            settings["base_url"] = self._host
        if str(settings.get("base_url", "")).lower().startswith("ssh:"):
            raise RuntimeFailure(
                "A Docker engine behind ssh:// cannot be used; run the worker on that machine, or give its "
                "address as unix:// or tcp:// with --docker-host."
            )
        client = APIClient(version=version, max_pool_size=connections, timeout=int(seconds), **settings)
        if client.base_url == _UNIX_BASE_URL:
            path = (self._host or settings.get("base_url") or DEFAULT_UNIX_SOCKET).partition("://")[2]
            client.mount("http+docker://", _SharedConnections(path, int(seconds), max_pool_size=connections))
        return client

    @property
    def is_local(self) -> bool:
        """Whether it is reached by a socket of this machine."""
        address = self._host or kwargs_from_env().get("base_url") or "unix://"
        return address.startswith("unix://")

    def close(self) -> None:
        """Let go of threads and connections; calls under way end by their own deadline."""
        for stream in list(self._open_streams):
            stream.close()
        for pool in (self._calls, self._streams, self._pulls, self._health):
            pool.shutdown()
        for client in self._clients.values():
            client.close()

    async def call(
        self, what: str, operation: Callable[[APIClient], _T], *, seconds: float = CALL_SECONDS
    ) -> _T:
        """Return what `operation` returns. Raises Refused, or RuntimeFailure if no answer came in time."""
        return await self._run(self._calls, what, partial(operation, self._clients["call"]), seconds)

    async def pull(self, operation: Callable[[APIClient], _T], seconds: float) -> _T:
        """Like `call`, on the threads for pulls and with credentials as they are now."""

        def run() -> _T:
            client = self._client(self._clients["call"].api_version, 1, CALL_SECONDS)
            try:
                return operation(client)
            finally:
                client.close()

        return await self._run(self._pulls, "pull", run, seconds)

    async def ping(self) -> str | None:
        """Return why the engine cannot be used now, or None. Never takes longer than PING_SECONDS."""
        if self._ping is None or self._ping.done():
            client = self._clients["health"]
            self._ping = asyncio.ensure_future(self._run(self._health, "ping", client.ping, PING_SECONDS * 2))
            self._ping.add_done_callback(lambda ping: ping.cancelled() or ping.exception())
        try:
            async with asyncio.timeout(PING_SECONDS):
                await asyncio.shield(self._ping)
        except TimeoutError:
            return f"The Docker engine did not answer a ping within {PING_SECONDS:g} s."
        except RuntimeFailure as failure:
            return failure.message
        # Some versions lock themselves up in parts: they answer pings, and never again what is asked of them.
        now = time.perf_counter()
        if any(now - begun > SILENT_SECONDS for begun in list(self._begun.values())):
            return (
                "The Docker engine answers pings, and has left a question unanswered for "
                f"{SILENT_SECONDS:g} s; restart it if that does not end."
            )
        return None

    async def open_stream(
        self, path: str, parameters: Mapping[str, str], idle_seconds: float | None = None
    ) -> "Stream":
        """Like `stream`, on the threads for streams."""
        ask = partial(self.stream, path, parameters, idle_seconds)
        return await self._run(self._streams, path, ask, CALL_SECONDS)

    def stream(self, path: str, parameters: Mapping[str, str], idle_seconds: float | None = None) -> "Stream":
        """Ask for an endless answer, on the caller's thread; it breaks after `idle_seconds` of silence."""
        client = self._clients["stream"]
        url = f"{client.base_url}/v{client.api_version}{path}"
        with translated(path):
            response = client.get(
                url, params=dict(parameters), stream=True, timeout=(CONNECT_SECONDS, idle_seconds)
            )
            response.raise_for_status()
        stream = Stream(response)
        self._open_streams.add(stream)
        return stream

    def pump(self, batches: Iterator[list[_T]], size_of: Callable[[_T], int]) -> "Pump[_T]":
        """Read batches on a thread for streams, ahead of who takes them."""
        return Pump(self._streams, batches, size_of)

    async def _run(self, pool: Threads, what: str, operation: Callable[[], _T], seconds: float | None) -> _T:
        meter = current_meter()

        def run() -> _T:
            begin, key = time.perf_counter(), object()
            if pool is self._calls:
                self._begun[key] = begin
            try:
                with translated(what):
                    return operation()
            finally:
                self._begun.pop(key, None)
                if meter is not None:
                    meter.add(time.perf_counter() - begin, datetime.now(UTC))

        call, began, failed = "stream" if what.startswith("/") else what, time.perf_counter(), True
        try:
            async with asyncio.timeout(seconds):
                answer = await asyncio.get_running_loop().run_in_executor(pool, run)
            failed = False
            return answer
        except TimeoutError:
            raise RuntimeFailure(
                f"The Docker engine did not answer ({what}) within {seconds:g} s.", code=ErrorCode.RUNTIME
            ) from None
        finally:
            self.durations.observe(time.perf_counter() - began, call)
            if failed:
                self.failures.add(call)


class Stream:
    """An answer that goes on; `close`, from any thread, ends the reading."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._closed = threading.Event()

    def chunks(self, *, whole: bool = False) -> Iterator[bytes]:
        """Yield what arrives, as it arrives, or `whole` chunks, of which the last one may be smaller.

        Raises RuntimeFailure if it breaks and was not closed.
        """
        raw = self._response.raw
        try:
            with translated("read"):
                if whole:
                    yield from iter(partial(raw.read, CHUNK_BYTES), b"")
                else:
                    yield from raw.stream(CHUNK_BYTES)
        except (RuntimeFailure, AttributeError, ValueError):
            # The SDK's way to close pulls socket and file away from under the reader.
            if not self._closed.is_set():
                raise

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines, without their ends."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from filter(None, map(bytes.strip, whole))

    def close(self) -> None:
        """End the reading; a second call does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            with contextlib.suppress(OSError, AttributeError):  # it has ended by itself already
                CancellableStream(iter(()), self._response).close()


class Pump(Generic[_T]):
    """Items that a thread reads while others are taken: as many at once as have come meanwhile."""

    def __init__(self, pool: Threads, batches: Iterator[list[_T]], size_of: Callable[[_T], int]) -> None:
        self._size_of = size_of
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = threading.Condition()
        self._items: list[_T] = []
        self._size = 0
        self._closed = False
        self._reading = pool.submit(self._read, batches)
        self._reading.add_done_callback(lambda reading: self._tell())

    async def take(self) -> list[_T]:
        """Return what has come, at least one item; nothing after the last. Raises what the reading raised."""
        while True:
            with self._room:
                over = self._reading.done()
                items, self._items, self._size = self._items, [], 0
                self._news.clear()
                self._room.notify()
            if items or over:
                break
            await self._news.wait()
        if not items and not self._reading.cancelled():
            self._reading.result()
        return items

    def close(self) -> None:
        """Read no more."""
        with self._room:
            self._closed = True
            self._room.notify()

    def _read(self, batches: Iterator[list[_T]]) -> None:
        for batch in batches:
            self._put(batch)
            if self._closed:
                return

    def _put(self, batch: list[_T]) -> None:
        with self._room:
            self._room.wait_for(lambda: self._closed or self._size < PUMP_BYTES)
            first = not self._items
            self._items += batch
            self._size += sum(map(self._size_of, batch))
        if first:
            self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._news.set)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of SDK, HTTP library and socket into Refused or RuntimeFailure."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 500
        raise Refused(_sentence(error), status) from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise RuntimeFailure(
            f"The Docker engine did not answer in time ({what}).", code=ErrorCode.RUNTIME
        ) from error
    except (urllib3.exceptions.HTTPError, DockerException, OSError) as error:
        raise RuntimeFailure(
            f"The Docker engine cannot be reached ({what}: {_innermost(error)}); "
            "start it, or correct --docker-host (DOCKER_HOST).",
            code=ErrorCode.RUNTIME,
        ) from error


def _sentence(error: requests.HTTPError) -> str:
    """Return the engine's own words."""
    if isinstance(error, APIError):
        return str(error.explanation or error)
    try:
        return str(error.response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def _innermost(error: BaseException) -> str:
    """Return the system's words, which lie below three layers of libraries'."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
