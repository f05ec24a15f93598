"""The program podling-worker: settings, runtimes, signals."""

import asyncio
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from podling import __version__
from podling.boot.failure import run
from podling.boot.policy import reloading
from podling.boot.settings import WorkerSettings, read_worker
from podling.boot.statements import running_databases
from podling.core.errors import ConfigurationError, RuntimeFailure
from podling.core.places import Kind, place_of
from podling.core.platforms import platform_labels
from podling.core.spec import Runtime as RuntimeName

if TYPE_CHECKING:
    from podling.kit.clock import Clock
    from podling.worker.datadir import DataDirectory
    from podling.worker.options import WorkerOptions
    from podling.worker.runtime.base import Runtime
    from podling.worker.worker import Worker

EXIT_AT_ONCE = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker until SIGTERM or SIGINT; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run(lambda: _run(read_worker(arguments, os.environ)), "podling-worker")


def _run(settings: WorkerSettings) -> int:
    import uvloop

    from podling.boot.logs import set_up_logging

    set_up_logging(settings.log_level, settings.log_format)
    uvloop.run(serve(settings))
    return 0


async def serve(settings: WorkerSettings) -> None:
    """Run a worker until the first SIGTERM or SIGINT; the second ends it at once."""
    import logging

    log = logging.getLogger("podling.worker")
    for notice in settings.notices:
        log.warning(notice)
    async with opened_worker(settings) as worker:
        loop = asyncio.get_running_loop()
        stop = stopper(worker)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, f"it got {signal.Signals(number).name}")
        await worker.run()
        log.info("stopped; containers go on, and are adopted at the next start")


def stopper(worker: "Worker") -> Callable[[str], None]:
    """Return what to call at a signal: the first stops the worker, the second ends the program."""
    asked = False

    def stop(reason: str) -> None:
        nonlocal asked
        if asked:
            os._exit(EXIT_AT_ONCE)
        asked = True
        worker.stop(reason)

    return stop


@asynccontextmanager
async def opened_worker(settings: WorkerSettings) -> AsyncIterator["Worker"]:
    """Give a worker on its data directory, ready to `run`. Raises ConfigurationError."""
    async with (
        running_databases(settings.databases) as databases,
        _opened_worker(replace(settings, databases=databases)) as worker,
    ):
        yield worker


@asynccontextmanager
async def _opened_worker(settings: WorkerSettings) -> AsyncIterator["Worker"]:
    from podling.boot.certificates import reloading as certificates_reloading
    from podling.kit.clock import SystemClock
    from podling.worker.datadir import DataDirectory
    from podling.worker.journal import Journal
    from podling.worker.worker import Worker

    clock = SystemClock()
    directory = DataDirectory.open(settings.data_dir)
    try:
        options = await make_options(settings, directory, clock)
        journal = Journal.open(directory)
        try:
            worker = Worker(options, directory, journal, _runtimes(settings, options.node_id), clock)
            with (
                reloading(settings.policy_file, worker.use_policy, keep=lambda problem: None),
                certificates_reloading(options.tls, settings, "podling.worker"),
            ):
                yield worker
        finally:
            await journal.close()
    finally:
        directory.close()


async def make_options(
    settings: WorkerSettings, directory: "DataDirectory", clock: "Clock"
) -> "WorkerOptions":
    """Return what the worker is and has; it joins first, if that is wanted.

    Raises ConfigurationError, and what `credential_of` raises.
    """
    from podling.boot.membership import credential_of, trust_of
    from podling.kit.ids import new_id
    from podling.worker.inside import DoorOptions
    from podling.worker.machine import capacity_of
    from podling.worker.options import WorkerOptions

    capacity, allocatable = capacity_of(
        _detected(settings),
        slots=settings.capacity,
        cpu=settings.cpu,
        memory=settings.memory,
        resources={
            **settings.resources,
            **await _handler_places(settings),
            **_database_places(settings),
        },
    )
    node_id = directory.node_id(settings.node_id, new_id(clock.now()))
    return WorkerOptions(
        node_id=node_id,
        instance=new_id(clock.now()),
        hostname=settings.hostname,
        host=settings.host,
        port=settings.port,
        has_api=not settings.no_api,
        master_urls=settings.master_urls,
        capacity=capacity,
        allocatable=allocatable,
        labels={**platform_labels(platform.system(), platform.machine()), **settings.labels},
        runtimes=settings.runtimes,
        heartbeat_interval=settings.heartbeat_interval,
        shutdown_timeout=settings.shutdown_timeout,
        token=settings.token,
        credential=await credential_of(settings, directory, node_id, clock),
        tls=trust_of(settings, directory),
        version=__version__,
        policy=settings.policy,
        gpus=settings.gpus,
        door=DoorOptions(host=settings.task_host, port=settings.task_port),
        own_files=_own_files(settings),
    )


async def _handler_places(settings: WorkerSettings) -> Mapping[str, int]:
    """Return how many of each function may run at a time, as resources. Raises ConfigurationError."""
    if RuntimeName.PYTHON not in settings.runtimes:
        return {}
    from podling.worker.machine import DEFAULT_SLOTS
    from podling.worker.runtime.python_child import Modules, discover

    slots = settings.capacity or DEFAULT_SLOTS
    modules = Modules(names=settings.handlers, logs=settings.data_dir, threads=1)
    try:
        offers = await discover(modules)
    except RuntimeFailure as failure:
        raise ConfigurationError(f"--handlers (PODLING_HANDLERS): {failure.message}") from None
    return {
        place_of(Kind.HANDLER, name): min(offer.concurrency or slots, slots) for name, offer in offers.items()
    }


def _database_places(settings: WorkerSettings) -> Mapping[str, int]:
    """Return how many statements may run at a time in each database, as resources."""
    if RuntimeName.SQL not in settings.runtimes:
        return {}
    from podling.worker.machine import DEFAULT_SLOTS

    places = min(settings.database_connections, settings.capacity or DEFAULT_SLOTS)
    return {place_of(Kind.DATABASE, name): places for name in settings.databases}


def _own_files(settings: WorkerSettings) -> tuple[Path, ...]:
    """Return what no task may see: the engine's socket, which makes its holder root, and credentials."""
    scheme, _, path = (settings.docker_host or "").partition("://")
    sockets = [Path(path)] if scheme == "unix" and path else []
    return (*sockets, *([settings.registry_config] if settings.registry_config else []))


def _detected(settings: WorkerSettings) -> Mapping[str, int]:
    """Return the machine's amounts; a worker that only simulates has those of the simulation."""
    from podling.worker.machine import detect_machine

    if settings.runtimes == (RuntimeName.SIMULATED,):
        return _make_runtime(settings, RuntimeName.SIMULATED, "", "").detected_capacity()
    return detect_machine()


def _runtimes(settings: WorkerSettings, node_id: str) -> Callable[[str], Mapping[str, "Runtime"]]:
    def make(cluster_id: str) -> Mapping[str, "Runtime"]:
        return {name: _make_runtime(settings, name, cluster_id, node_id) for name in settings.runtimes}

    return make


def _make_runtime(settings: WorkerSettings, name: str, cluster_id: str, node_id: str) -> "Runtime":
    match name:
        case RuntimeName.DOCKER:
            from podling.worker.runtime.docker import DockerRuntime

            return DockerRuntime(
                cluster_id, node_id, settings.docker_host, registry_config=settings.registry_config
            )
        case RuntimeName.PROCESS:
            from podling.worker.runtime.process import ProcessRuntime

            return ProcessRuntime(settings.data_dir, allow_root_processes=settings.allow_root_processes)
        case RuntimeName.PYTHON:
            from podling.worker.machine import DEFAULT_SLOTS
            from podling.worker.runtime.python import PythonRuntime

            return PythonRuntime(
                cluster_id,
                settings.data_dir,
                settings.handlers,
                processes=settings.handler_processes or len(os.sched_getaffinity(0)),
                slots=settings.capacity or DEFAULT_SLOTS,
            )
        case RuntimeName.SQL:
            from podling.worker.machine import DEFAULT_SLOTS
            from podling.worker.runtime.sql import SqlRuntime

            return SqlRuntime(
                cluster_id,
                settings.data_dir,
                settings.databases,
                connections=settings.database_connections,
                slots=settings.capacity or DEFAULT_SLOTS,
            )
        case RuntimeName.SIMULATED:
            from podling.worker.runtime.simulated import SimulatedRuntime

            return SimulatedRuntime()
    raise AssertionError(f"the settings let the unknown runtime {name} through")
