"""Fixtures that tests of every kind may use."""

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from _pytest.nodeid import coerce_node_id

from podling.store.base import Store
from podling.store.memory.store import MemoryStore
from tests.postgres_servers import PostgresServer, chosen_servers, running_server
from tests.support import IN_SOAK

ServerOf = Callable[[str], PostgresServer]


def pytest_configure() -> None:
    """Let tests that are ended by a signal still stop the servers they have started."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # Programs that tests start take over that it is ignored, as it is in the background of a shell.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs to `make soak`, and begin with what takes long.

    And keep a group on one process: pytest-xdist 3.8 writes it where pytest 9.2 looks no more.
    """
    long = [] if IN_SOAK else [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
    if getattr(config.option, "loadgroup", False):
        groups = {item: _group(item) for item in items}
        items.sort(key=lambda item: groups[item] is None)
        for item, group in groups.items():
            if group:
                item._id = coerce_node_id(f"{item.nodeid}@{group}")


def _group(item: pytest.Item) -> str | None:
    """Return the group that runs on one process: the one that is marked, or what shares a module's fixtures.

    Spread over the processes, each of them would start the module's programs and servers anew.
    """
    if (mark := item.get_closest_marker("xdist_group")) is not None:
        return str(mark.args[0])
    assert isinstance(item, pytest.Function)
    fixtures = item._fixtureinfo.name2fixturedefs
    choices = item.callspec.indices if hasattr(item, "callspec") else {}
    shared = sorted(
        f"{name}{choices.get(name, '')}" for name, found in fixtures.items() if found[-1].scope == "module"
    )
    return "-".join([item.path.stem, *shared]) if shared else None


@pytest.fixture(scope="session")
def server_of() -> Iterator[ServerOf]:
    """Give PostgreSQL servers by name, each started once when a test first wants it."""
    servers: dict[str, PostgresServer] = {}
    with ExitStack() as stack:

        def find(name: str) -> PostgresServer:
            if name not in servers:
                servers[name] = stack.enter_context(running_server(name))
            return servers[name]

        yield find


@pytest.fixture(params=chosen_servers())
def postgres_server(request: pytest.FixtureRequest, server_of: ServerOf) -> PostgresServer:
    """A PostgreSQL server; the test runs once on each that was chosen."""
    return server_of(request.param)


@pytest.fixture(params=["memory", *chosen_servers()])
async def store(request: pytest.FixtureRequest, server_of: ServerOf) -> AsyncIterator[Store]:
    """An open and empty store; the test runs once on each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    async with server_of(request.param).store() as postgres:
        yield postgres
