"""Who waits for what, and one connection that hears of it: it is there while somebody waits.

A signal is a hint and may get lost. Whoever waits looks for themselves now and then, and is woken after
every new connection.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from podling.store.postgres.coordination.runner import Runner
from podling.store.postgres.errors import DRIVER_ERRORS, reason
from podling.store.postgres.pool import Connection

CHANNEL = "podling_coordination"

_READY_SECONDS = 1.0
_IDLE_SECONDS = 30.0
_PING_SECONDS = 5.0
_RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0)

_log = logging.getLogger(__name__)


class Signals:
    """`topic` is what a notification says: `lock` and a ticket, or `breaker` and a key."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._hears = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def hear(self) -> None:
        """Return when signals come in; after a second even if they do not, for they are hints."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="coordination's signals")
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._hears.wait()
        except TimeoutError:
            _log.warning("nothing is heard yet of other programs; what they free is found a second later")

    @contextmanager
    def on(self, topic: str) -> Iterator[asyncio.Event]:
        """Give an event that is set by every signal of this topic."""
        woken = asyncio.Event()
        self._waiting.setdefault(topic, set()).add(woken)
        try:
            yield woken
        finally:
            self._waiting[topic].discard(woken)
            if not self._waiting[topic]:
                del self._waiting[topic]

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        """Listen until nobody has waited for a while; come back by itself when the connection is lost."""
        failures = 0
        while True:
            try:
                async with self._runner.listening() as connection:
                    failures = 0
                    await self._listen(connection)
                    return
            except DRIVER_ERRORS as error:
                wait = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures += 1
                _log.warning("coordination hears nothing (%s); again in %g s", reason(error), wait)
                await asyncio.sleep(wait)
            finally:
                self._hears.clear()

    async def _listen(self, connection: Connection) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, self._heard)
        try:
            self._hears.set()
            self._wake_all()
            await self._until_idle(connection, lost)
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, self._heard)

    async def _until_idle(self, connection: Connection, lost: asyncio.Event) -> None:
        """Return when nobody has waited for long. Raises when the connection is lost."""
        clock = asyncio.get_running_loop().time
        wanted_at = clock()
        while self._waiting or clock() - wanted_at < _IDLE_SECONDS:
            if self._waiting:
                wanted_at = clock()
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=_PING_SECONDS)
            else:
                raise ConnectionResetError("the session was ended")

    def _heard(self, *told: object) -> None:
        for woken in self._waiting.get(str(told[-1]), ()):
            woken.set()

    def _wake_all(self) -> None:
        for topic in self._waiting.values():
            for woken in topic:
                woken.set()
