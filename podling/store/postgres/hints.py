"""NOTIFY and LISTEN: hints that something has changed. They may get lost; whoever needs the truth polls.

A NOTIFY inside a commit would cost half the throughput, so it is sent after the commit, from a
connection of its own, the first at once and the next not before a twentieth of a second has passed.
"""

import asyncio
import logging
from collections.abc import Callable

import asyncpg

from podling.store.postgres.errors import DRIVER_ERRORS, reason
from podling.store.postgres.pool import Address, keep_alive

CHANNEL = "podling_changes"

_INTERVAL_SECONDS = 0.05
_PING_SECONDS = 5.0
_RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0)

_log = logging.getLogger(__name__)


class Notifier:
    """Sends hints; `hint` never waits."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="postgres-notifier")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def hint(self) -> None:
        """Ask for a NOTIFY; many asks become one."""
        self._wanted.set()

    async def _run(self) -> None:
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    if connection is None or connection.is_closed():
                        connection = await asyncpg.connect(**self._address.options())
                        keep_alive(connection)
                    await connection.execute(f"NOTIFY {CHANNEL}")
                except DRIVER_ERRORS as error:
                    _log.warning("a hint to the other masters was not sent: %s", reason(error))
                await asyncio.sleep(_INTERVAL_SECONDS)
        finally:
            if connection is not None:
                connection.terminate()


class Listener:
    """Receives hints on a connection of its own, and comes back by itself."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def run(self, on_hint: Callable[[], None]) -> None:
        """Call `on_hint` for every hint, and once after each (re)connection. Runs until cancelled."""
        failures = 0
        while True:
            try:
                connection = await asyncpg.connect(**self._address.options())
                try:
                    failures = 0
                    await _listen(connection, on_hint)
                finally:
                    connection.terminate()
            except DRIVER_ERRORS as error:
                wait = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures += 1
                _log.warning("the listener lost the database (%s); again in %g s", reason(error), wait)
                await asyncio.sleep(wait)


async def _listen(connection: "asyncpg.Connection[asyncpg.Record]", on_hint: Callable[[], None]) -> None:
    """Listen first, then let the caller scan: nothing falls between. Raises when the connection is lost."""
    lost = asyncio.Event()
    keep_alive(connection)
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(CHANNEL, lambda *_: on_hint())
    on_hint()
    while True:
        try:
            await asyncio.wait_for(lost.wait(), _PING_SECONDS)
        except TimeoutError:
            await connection.execute("SELECT 1")
        else:
            raise ConnectionResetError("the session was ended")
