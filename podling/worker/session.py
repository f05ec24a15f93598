"""The worker's session: one connection to a master, dialled again for as long as the worker lives."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat

import aiohttp

from podling.core.errors import ConfigurationError, PodlingError, Unauthorized, Unavailable
from podling.core.value import value
from podling.kit.wakeup import Wakeup
from podling.wire.session import Goodbye, Hello, Welcome
from podling.worker.conversation import Conversation
from podling.worker.line import Dial, Line
from podling.worker.masters import Masters
from podling.worker.shell import Shell
from podling.worker.streams import Streams

ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)

_log = logging.getLogger(__name__)


@value
class SessionOptions:
    """`heartbeat_interval` None: a quarter of the lease.

    `hello` makes the first message. `admitted` is given each welcome before anything else is done
    with it, and raises if the worker cannot serve that master. `connected` is called after that,
    and `renewed` with every renewal of the lease: when it was asked for (monotonic), its seconds.
    `draw` gives random numbers in [0, 1) for the pauses between tries.
    """

    hello: Callable[[], Hello]
    admitted: Callable[[Welcome], None]
    connected: Callable[[], None]
    renewed: Callable[[float, float], None]
    heartbeat_interval: float | None = None
    draw: Callable[[], float] = random.random


async def greet(line: Line, hello: Hello, patience: float = ANSWER_SECONDS) -> Welcome:
    """Say hello and return the answer.

    Raises TimeoutError, Unavailable, or ConfigurationError if the worker is sent away for good.
    """
    async with asyncio.timeout(patience):
        await line.send(_spoken(hello, line.protocol_version))
        message = await line.receive()
    match message:
        case Welcome():
            return message
        case Goodbye(reason=reason, reconnect=True):
            raise Unavailable(reason)
        case Goodbye(reason=reason):
            raise ConfigurationError(f"the master does not admit this worker: {reason}")
    raise Unavailable("it did not answer hello with welcome")


def _spoken(hello: Hello, version: int) -> Hello:
    """Return the hello in that version, which may not know all of it."""
    return replace(hello, protocol_version=version, beats_only=hello.beats_only and version >= 2)


async def learn_cluster(
    masters: Masters, dial: Dial, hello: Hello, draw: Callable[[], float] = random.random
) -> str:
    """Ask the masters, until one answers, which cluster they are.

    Raises ConfigurationError, and Unauthorized for a token that they do not take: nothing runs here yet.
    """
    for wait in waits(masters, draw):
        url = masters.take()
        try:
            line = await dial(url, ANSWER_SECONDS)
            try:
                welcome = await greet(line, hello)
                masters.stay()
                return welcome.cluster_id
            finally:
                await line.close()
        except (ConfigurationError, Unauthorized):
            raise
        except (PodlingError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("no session with master %s: %s", url, _reason(error))
        await asyncio.sleep(wait)
    raise AssertionError("waits never ends")


def waits(masters: Masters, draw: Callable[[], float] = random.random) -> Iterator[float]:
    """Yield the pauses between tries: short until every master has been tried, then longer."""
    for seconds in chain(BACKOFF_SECONDS, repeat(BACKOFF_SECONDS[-1])):
        for _ in masters.all:
            yield seconds * (0.5 + draw())


class Session:
    """`url` is the master's that the worker is connected to, if any; `secret` what it has lent for it."""

    def __init__(
        self,
        options: SessionOptions,
        masters: Masters,
        dial: Dial,
        shell: Shell,
        streams: Streams,
    ) -> None:
        self.url: str | None = None
        self.secret: str | None = None
        self.unhealthy: str | None = None  # goes out with each beat
        self.beating = Wakeup()  # sends the next beat at once
        self.options = options
        self.shell = shell
        self.streams = streams
        self.masters = masters
        self._dial = dial
        self._lease_seconds: float | None = None
        self._line: Line | None = None
        self._left = False
        self._over = asyncio.Event()

    async def leave(self, reason: str) -> None:
        """Tell the master that this worker was stopped; return when it has heard it, or soon."""
        self._left = True
        if self._line is None:
            return
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._line.send(Goodbye(reason=reason, reconnect=False))
                await self._over.wait()

    async def run(self) -> None:
        """Keep a session for ever. Raises ConfigurationError if a master says not to come back."""
        pauses = waits(self.masters, self.options.draw)
        while not self._left:
            url = self.masters.take()
            try:
                await self._talk(url)
            except ConfigurationError:
                raise
            except (PodlingError, aiohttp.ClientError, TimeoutError, OSError) as error:
                if not self._left:
                    _log.warning("no session with master %s: %s", url, _reason(error))
            if self.url is not None:
                self.url = self.secret = None
                pauses = waits(self.masters, self.options.draw)
            await asyncio.sleep(next(pauses))

    async def _talk(self, url: str) -> None:
        patience = self._patience()
        line = await self._dial(url, patience)
        try:
            sent_at = self.shell.clock.monotonic()
            welcome = await greet(line, self.options.hello(), patience)
            self.options.admitted(welcome)
            self.masters.learn(welcome.masters)
            self.url, self.secret, self._lease_seconds = url, welcome.secret, welcome.lease_seconds
            _log.info("session %d with master %s", welcome.session_no, url)
            self.options.connected()
            self._line = line
            await Conversation(self, line, url).run(welcome, sent_at)
        finally:
            self._line = None
            await line.close()
            if self._left:
                self._over.set()

    def _patience(self) -> float:
        """Return how long one master is waited for: so that there is time for another, if there is one."""
        if self._lease_seconds is None or len(self.masters.all) == 1:
            return ANSWER_SECONDS
        return max(0.2, self._lease_seconds / 6)


def _reason(error: BaseException) -> str:
    if isinstance(error, PodlingError):
        return error.message
    return str(error) or ("it did not answer in time" if isinstance(error, TimeoutError) else repr(error))
