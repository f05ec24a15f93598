"""The databases that a worker runs statements in: from its settings to addresses that answer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from podling.boot import parsers
from podling.boot.options import Faults
from podling.core.errors import ConfigurationError
from podling.core.spec import Runtime
from podling.core.statements import DEFAULT_DATABASE


def databases_of(given: Mapping[str, Any], faults: Faults) -> Mapping[str, str]:
    """Return the addresses by name; a statement that names none runs in the default one, DATABASE_URL."""
    if Runtime.SQL.value not in given["runtimes"]:
        return {}  # DATABASE_URL is then somebody else's business
    url = given.get("database_url")
    databases: dict[str, str] = ({DEFAULT_DATABASE: url} if url else {}) | given["databases"]
    if not databases and "databases" not in faults.fields:
        faults.add("--runtime sql needs --database NAME=URL, or DATABASE_URL: where to run statements")
    for name, address in databases.items():
        try:
            _check(address)
        except (ValueError, ConfigurationError) as error:
            faults.add(f"the database {name}: {error}")
    return databases


def _check(address: str) -> None:
    from podling.store.postgres.address import check_address

    if not parsers.database_url(address).startswith("embedded:"):
        check_address(address)


@asynccontextmanager
async def running_databases(urls: Mapping[str, str]) -> AsyncIterator[Mapping[str, str]]:
    """Give a DSN for each name; those that are embedded run meanwhile.

    Raises ConfigurationError, StoreUnavailable.
    """
    if not urls:
        yield {}
        return
    from podling.boot.database import running_database
    from podling.store.postgres.address import without_timeout

    async with AsyncExitStack() as stack:
        running = {
            url: await stack.enter_async_context(running_database(url)) for url in sorted(set(urls.values()))
        }
        yield {name: without_timeout(running[url])[0] for name, url in urls.items()}
