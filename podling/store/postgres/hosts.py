"""An address with several hosts: the first that answers, and is what was asked for, is used.

The driver tries them too, but gives the first one all of the time: one that is switched off, and
refuses nothing, would hide the others.
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

_NEXT_ONE_MAY_DO = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)


def hosts_apart(dsn: str) -> list[str]:
    """Return an address for each host that the address names before its path."""
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


async def connect(dsn: str, *, timeout: float, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect as asyncpg does; each host has its share of the time. Raises what the last one gave."""
    addresses = hosts_apart(dsn)
    share = timeout / len(addresses)
    for address in addresses[:-1]:
        try:
            return await asyncpg.connect(address, timeout=share, **options)
        except _NEXT_ONE_MAY_DO:
            continue
    return await asyncpg.connect(addresses[-1], timeout=share, **options)
