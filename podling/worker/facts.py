"""Tells the master once a minute what this machine is like: its clock, its disks, its engines."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import aiohttp

from podling.core.facts import DiskFacts, EngineFacts, WorkerFacts
from podling.kit.clock import Clock
from podling.kit.wakeup import Wakeup
from podling.wire.codec import encode
from podling.wire.credentials import headers_of
from podling.worker.runtime.base import Runtime

FACTS_SECONDS = 60.0
POST_SECONDS = 5.0
LOOK_SECONDS = 10.0

_log = logging.getLogger(__name__)


@runtime_checkable
class HasEngine(Protocol):
    """A runtime with an engine of its own, which has a version and perhaps a directory here."""

    async def describe(self) -> EngineFacts:
        """Return what the engine is. Never raises for one that is away: that is a fact too."""


class FactsSender:
    """`run_once` tells the master that the worker is connected to, if there is one.

    `lent` is the credential that this master has lent for the session.
    """

    def __init__(
        self,
        directory: Path,
        runtimes: Iterable[Runtime],
        http: aiohttp.ClientSession,
        node_id: str,
        master_url: Callable[[], str | None],
        clock: Clock,
        lent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.wakeup = Wakeup()
        self._directory = directory
        self._engines = [runtime for runtime in runtimes if isinstance(runtime, HasEngine)]
        self._http = http
        self._path = f"/api/v1/nodes/{node_id}/facts"
        self._master_url = master_url
        self._lent = lent
        self._clock = clock

    async def run_once(self) -> float | None:
        if (url := self._master_url()) is None:
            return None
        engines = await asyncio.gather(*(engine.describe() for engine in self._engines))
        async with asyncio.timeout(LOOK_SECONDS):
            disks = await asyncio.to_thread(_disks, self._directory, engines)
        await self._post(url + self._path, tuple(disks), tuple(engines))
        return None

    async def _post(
        self, address: str, disks: tuple[DiskFacts, ...], engines: tuple[EngineFacts, ...]
    ) -> None:
        """Send it; what is lost is told again a minute later, and an older master has no such route."""
        body = encode(WorkerFacts(at=self._clock.now(), disks=disks, engines=engines))
        timeout = aiohttp.ClientTimeout(total=POST_SECONDS)
        headers = {"Content-Type": "application/json"} | headers_of(self._lent())
        try:
            async with self._http.post(address, data=body, headers=headers, timeout=timeout) as answer:
                _log.debug("told the master of this machine: %d", answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.debug("could not tell the master of this machine: %s", error)


def _disks(directory: Path, engines: Iterable[EngineFacts]) -> list[DiskFacts]:
    places = {"data directory": directory}
    places |= {f"{engine.name} directory": Path(engine.root) for engine in engines if engine.root}
    return [_disk(name, path) for name, path in places.items() if path.exists()]


def _disk(name: str, path: Path) -> DiskFacts:
    usage = shutil.disk_usage(path)
    return DiskFacts(name=name, path=str(path), total_bytes=usage.total, free_bytes=usage.free)
