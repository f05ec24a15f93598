"""The program podling-master: settings, store, server, signals."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from podling import __version__
from podling.boot.failure import run
from podling.boot.policy import reloading
from podling.boot.settings import MasterSettings, read_master

if TYPE_CHECKING:
    from podling.boot.certificates import Certificates
    from podling.kit.garbage import Collector
    from podling.master.server import MasterServer
    from podling.store.base import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Run a master until SIGTERM or SIGINT; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(lambda: _run(read_master(arguments, os.environ)), "podling-master")


def _run(settings: MasterSettings) -> int:
    import uvloop

    from podling.boot.logs import set_up_logging
    from podling.kit.descriptors import allow_many

    set_up_logging(settings.log_level, settings.log_format)
    allow_many()
    uvloop.run(serve(settings))
    return 0


async def serve(settings: MasterSettings) -> None:
    """Run a master until the first SIGTERM or SIGINT; the second kills it."""
    import logging

    from podling.kit.garbage import Collector

    log = logging.getLogger("podling.master")
    for notice in settings.notices:
        log.warning(notice)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_exit, stopping)
    async with running_master(settings) as address:
        collector = Collector()
        collector.begin()
        log.info("listening on %s, %s", address, _served(settings))
        await _stopped(stopping, collector)
        log.info("stopping; containers go on")


def _served(settings: MasterSettings) -> str:
    if not settings.databases:
        return f"store {settings.store_type}"
    return "databases " + ", ".join(f"{item.name} at /{item.name}" for item in settings.databases)


async def _stopped(stopping: asyncio.Event, collector: "Collector") -> None:
    """Wait until the master has to stop, and have garbage looked at meanwhile."""
    from podling.kit.garbage import CALM_SECONDS

    while not stopping.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(CALM_SECONDS):
                await stopping.wait()
        collector.look_again()
    collector.end()


@asynccontextmanager
async def running_master(settings: MasterSettings) -> AsyncIterator[str]:
    """Start a master with its store, give its address, stop it afterwards.

    With several databases it is a master for each. Raises ConfigurationError, StoreUnavailable.
    """
    from podling.boot.certificates import certificates_of
    from podling.boot.certificates import reloading as certificates_reloading
    from podling.boot.databases import each
    from podling.kit.front import at_work
    from podling.master.door import Door

    settings = replace(settings, port=settings.port or _free_port(settings.host))
    certificates = certificates_of(settings)
    context = None if certificates is None else certificates.context
    async with AsyncExitStack() as stack:
        servers = {}
        for name, own in each(settings).items():
            with at_work(name):
                store = await stack.enter_async_context(opened_store(own))
                servers[name] = make_server(own, store, certificates)
        door = Door(servers, settings.host, settings.port, context)
        stack.push_async_callback(door.close)
        port = await door.open()
        for server in servers.values():
            stack.enter_context(reloading(settings.policy_file, server.use_policy, server.keep_policy))
        stack.enter_context(certificates_reloading(context, settings, "podling.master"))
        yield settings.advertised(port)


def _free_port(host: str) -> int:
    """Return a port for `--port 0`: workers and masters are told of it before it is listened on.

    Raises ConfigurationError if there is no such host.
    """
    import socket

    from podling.core.errors import ConfigurationError

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from None


def _stop_or_exit(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        os._exit(1)  # a second signal: at once
    stopping.set()


def make_server(
    settings: MasterSettings, store: "Store", certificates: "Certificates | None" = None
) -> "MasterServer":
    """Return a server that is not started yet. Raises ConfigurationError."""
    from datetime import timedelta

    from podling.boot.alerts import alert_options
    from podling.boot.identity import claim_identity
    from podling.kit.clock import SystemClock
    from podling.kit.ids import new_id
    from podling.master.context import MasterOptions
    from podling.master.server import MasterServer

    clock = SystemClock()
    options = MasterOptions(
        advertise_url=settings.advertised(settings.port),
        identity=claim_identity(settings.data_dir),
        master_id=new_id(clock.now()),
        version=__version__,
        lease_seconds=settings.lease_seconds,
        keep_ended=timedelta(days=settings.keep_ended_days),
        token=settings.token,
        allow_simulated=settings.allow_simulated,
        policy=settings.policy,
        policy_source=None if settings.policy_file is None else str(settings.policy_file),
        alerts=alert_options(settings),
        queues=() if settings.database is None else settings.database.queues,
        directories=_directories(settings),
        authority=None if certificates is None else certificates.authority,
        wants_certificates=settings.tls_client_ca is not None,
        log_tasks=settings.log_tasks,
    )
    return MasterServer(options, store, clock)


def _directories(settings: MasterSettings) -> dict[str, Path]:
    """Return the directories on this machine whose disks the master watches."""
    from podling.store.postgres.embedded import embedded_directory

    found = {"data directory": settings.data_dir}
    database = embedded_directory(settings.database_url or "") if settings.store_type == "postgres" else None
    return found if database is None else found | {"database": database}


@asynccontextmanager
async def opened_store(settings: MasterSettings) -> AsyncIterator["Store"]:
    """Choose the store; an embedded database runs meanwhile, and is brought back when it dies.

    Raises ConfigurationError, StoreUnavailable.
    """
    if settings.store_type == "memory":
        from podling.store.memory.store import MemoryStore

        yield MemoryStore()
        return
    from podling.boot.database import running_database
    from podling.store.postgres.store import PostgresStore

    assert settings.database_url is not None
    ages = {} if settings.database is None else settings.database.ages
    async with running_database(settings.database_url) as dsn:
        yield PostgresStore(
            dsn,
            **ages,
            direct_dsn=settings.database_direct_url,
            read_dsn=settings.database_read_url,
            leader_timeout_seconds=settings.lease_seconds / 4,
            pool_size=settings.database_pool_size,
            command_timeout_seconds=settings.database_timeout,
            synchronous_commit=settings.synchronous_commit,
        )
