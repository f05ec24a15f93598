"""psql on the database of an address: an embedded one too, whose own address only its files tell."""

import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

from podling.boot.database import running_database


async def psql(url: str, arguments: Sequence[str]) -> int:
    """Run it until it ends; return its exit code. An embedded database runs meanwhile.

    Raises ConfigurationError, StoreUnavailable.
    """
    async with running_database(url) as dsn:
        address, password = _apart(dsn)
        child = await asyncio.create_subprocess_exec(
            _program(), f"--dbname={address}", *arguments, env=os.environ | password
        )
        # Ctrl-C is for psql, which ends a query by it and not itself.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        return await child.wait()


def _program() -> str:
    """Return the machine's own psql, or the one that comes with the embedded database."""
    from podling.store.postgres.embedded_host import Account, binaries

    own = Account(os.geteuid(), os.getegid(), switch=False)
    return shutil.which("psql") or str(binaries(own) / "psql")


def _apart(dsn: str) -> tuple[str, dict[str, str]]:
    """Return the address without its password, which other users would see among the processes."""
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    address = urlunsplit(parts._replace(netloc=f"{user}{at}{hosts}"))
    return address, {"PGPASSWORD": unquote(password)} if password else {}
