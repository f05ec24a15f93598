"""Looks up the hosts of web hooks in threads of their own: a slow name server holds up nothing else."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

MOST_LOOKUPS = 8
THREADS = "alert-names"
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class NameResolver(AbstractResolver):
    """A lookup cannot be interrupted, so one that nobody waits for any more still counts until it ends."""

    def __init__(self, most: int = MOST_LOOKUPS) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=THREADS)
        self._room = asyncio.Semaphore(most)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await self._room.acquire()
        looking = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port, family)
        looking.add_done_callback(lambda _: self._room.release())
        return await asyncio.shield(looking)

    async def close(self) -> None:
        """Begin no lookup any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=socket.getnameinfo(address, _NUMERIC)[0],  # with its scope, if it has one
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]
