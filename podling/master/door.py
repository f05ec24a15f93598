"""Where masters listen: one of them at the root of an address, or several, each behind its name."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLContext
from typing import Protocol

from aiohttp import web

from podling.core.errors import ConfigurationError
from podling.kit.connection import listen
from podling.kit.descriptors import half_at_most
from podling.kit.front import Front, at_work
from podling.master.api.admission import MOST_CONNECTIONS
from podling.master.api.http import error_answer

SHUTDOWN_SECONDS = 10.0


class Master(Protocol):
    """What a door needs of a `MasterServer`."""

    async def prepare(self) -> web.AppRunner: ...
    async def join(self) -> None: ...
    def check_reach(self, host: str) -> None: ...
    def begin(self) -> None: ...
    async def leave(self) -> None: ...
    async def finish(self) -> None: ...


class Door:
    """Opens with its masters and ends with them: by name, the first at the root too; one alone has none."""

    def __init__(
        self, masters: Mapping[str, Master], host: str, port: int, ssl_context: SSLContext | None = None
    ) -> None:
        self._masters = masters
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._runners: list[web.BaseRunner] = []  # the one that listens is the first
        self._listening: asyncio.Server | None = None

    async def open(self) -> int:
        """Return the port that was bound. Raises ConfigurationError, StoreUnavailable."""
        bound = await self._bind()
        for name, master in self._masters.items():
            with at_work(name):
                await master.join()
                master.check_reach(self._host)
        await self._serve()
        for name, master in self._masters.items():
            with at_work(name):
                master.begin()
        return bound

    async def _bind(self) -> int:
        """Take the port before anything is written to a store; who calls meanwhile is refused."""
        runners = {name: await master.prepare() for name, master in self._masters.items()}
        runner = await self._runner_of(runners)
        try:
            self._listening = await listen(
                runner,
                [one.app for one in runners.values()],
                self._host,
                self._port,
                error_answer,
                self._ssl_context,
                most=half_at_most(MOST_CONNECTIONS),
                start_serving=False,
            )
        except OSError as error:
            raise self._cannot_listen(error) from None
        return int(self._listening.sockets[0].getsockname()[1])

    async def _runner_of(self, runners: Mapping[str, web.AppRunner]) -> web.BaseRunner:
        self._runners = list(runners.values())
        if list(runners) != [""]:
            front = web.ServerRunner(Front(runners).server(), shutdown_timeout=SHUTDOWN_SECONDS)
            await front.setup()
            self._runners.insert(0, front)
        return self._runners[0]

    async def _serve(self) -> None:
        assert self._listening is not None
        try:
            await self._listening.start_serving()
        except OSError as error:
            raise self._cannot_listen(error) from None

    async def close(self) -> None:
        """Send workers on, answer what is in hand, resign, close. Containers go on."""
        await self._all(lambda master: master.leave())
        if self._listening is not None:
            self._listening.close()
        for runner in self._runners:
            await runner.cleanup()
        await self._all(lambda master: master.finish())

    async def _all(self, step: Callable[[Master], Awaitable[None]]) -> None:
        """Take the step with all at once: one whose database is away keeps no other waiting."""
        await asyncio.gather(*map(step, self._masters.values()))

    def _cannot_listen(self, error: OSError) -> ConfigurationError:
        if error.errno == errno.EADDRINUSE:
            where = f"port {self._port} on {self._host}"
            sentence = f"{where} is in use; stop the other program, or choose another with --port"
        else:
            sentence = f"cannot listen on {self._host}:{self._port}: {error.strerror or error}"
        return ConfigurationError(sentence)
