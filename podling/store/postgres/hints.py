"""NOTIFY and LISTEN: hints that something has changed. They may get lost; whoever needs the truth polls.

A NOTIFY inside a commit would cost half the throughput, so it is sent after the commit, from a
connection of its own, the first at once and the next not before a twentieth of a second has passed.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import asyncpg

from podling.store.base import ignore
from podling.store.postgres.errors import DRIVER_ERRORS, reason
from podling.store.postgres.hosts import connect
from podling.store.postgres.pool import Address, keep_alive

CHANNEL = "podling_changes"
CALL = "call"
"""What a hint says that is not about changes: a message has come, nobody leads any more, or a node is in
other service."""

INBOX = "inbox"
"""What one says that comes out of a program's own transaction: something lies in the inbox."""

_INTERVAL_SECONDS = 0.05
_LAST_SECONDS = 1.0
_PING_SECONDS = 5.0
_RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0)

_log = logging.getLogger(__name__)


class Notifier:
    """Sends hints; `hint` and `call` never wait."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wanted = asyncio.Event()
        self._payloads: set[str] = set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._stopping = False
            self._wanted.clear()
            self._task = asyncio.create_task(self._run(), name="postgres-notifier")

    async def stop(self) -> None:
        """Send what was asked for last, and end."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            self._wanted.set()
            await asyncio.wait([task], timeout=_LAST_SECONDS)
            task.cancel()
            await asyncio.wait([task])

    def hint(self) -> None:
        """Ask for a NOTIFY about changes; many asks become one."""
        self._payloads.add("")
        self._wanted.set()

    def call(self) -> None:
        """Ask for one about what else a master may wait for."""
        self._payloads.add(CALL)
        self._wanted.set()

    async def _run(self) -> None:
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        try:
            while payloads := await self._next():
                try:
                    if connection is None or connection.is_closed():
                        connection = await connect(**self._address.options())
                        keep_alive(connection)
                    for payload in payloads:
                        await connection.execute(f"NOTIFY {CHANNEL}, '{payload}'")
                except DRIVER_ERRORS as error:
                    _log.warning("a hint to the other masters was not sent: %s", reason(error))
                if not self._stopping:
                    await asyncio.sleep(_INTERVAL_SECONDS)
        finally:
            if connection is not None:
                connection.terminate()

    async def _next(self) -> list[str]:
        """Return what is to be said, waiting for it; nothing at the end."""
        if not self._stopping:
            await self._wanted.wait()
        self._wanted.clear()
        payloads, self._payloads = sorted(self._payloads), set()
        return payloads


class Listener:
    """Receives hints on a connection of its own, and comes back by itself."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def run(
        self,
        on_hint: Callable[[], None],
        on_call: Callable[[], None] = ignore,
        on_inbox: Callable[[], None] = ignore,
    ) -> None:
        """Call one of them for every hint, all after each (re)connection. Runs until cancelled."""
        heard = {CALL: on_call, INBOX: on_inbox}
        failures = 0
        while True:
            try:
                connection = await connect(**self._address.options())
                try:
                    failures = 0
                    await _listen(connection, on_hint, heard)
                finally:
                    connection.terminate()
            except DRIVER_ERRORS as error:
                wait = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures += 1
                _log.warning("the listener lost the database (%s); again in %g s", reason(error), wait)
                await asyncio.sleep(wait)


async def _listen(
    connection: "asyncpg.Connection[asyncpg.Record]",
    on_hint: Callable[[], None],
    heard: Mapping[str, Callable[[], None]],
) -> None:
    """Listen first, then let the caller scan: nothing falls between. Raises when the connection is lost."""
    lost = asyncio.Event()
    keep_alive(connection)
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(CHANNEL, lambda *told: heard.get(told[-1], on_hint)())
    for tell in (on_hint, *heard.values()):
        tell()
    while True:
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await lost.wait()
        except TimeoutError:
            await connection.execute("SELECT 1")
        else:
            raise ConnectionResetError("the session was ended")
