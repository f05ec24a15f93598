"""`podling dev`: a master on embedded Postgres and a worker, in one process."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from podling.boot.failure import run
from podling.boot.settings import MasterSettings, WorkerSettings, read_master, read_worker

if TYPE_CHECKING:
    from podling.worker.worker import Worker

USAGE = """usage: podling dev [FLAG …]

Run a master on an embedded PostgreSQL and a worker in one process, until Ctrl-C. The flags are
those of podling-master; the worker has its own defaults, and takes PODLING_… variables.
"""


def main(argv: Sequence[str]) -> int:
    """Run both until SIGTERM or SIGINT; return the exit code."""
    if {"-h", "--help"}.intersection(argv):
        print(USAGE, end="")  # noqa: T201 - the answer to --help
        return 0
    return run(lambda: _run(argv), "podling dev")


def _run(argv: Sequence[str]) -> int:
    import uvloop

    from podling.boot.logs import set_up_logging

    master = _master_settings(argv)
    worker = read_worker(_worker_flags(master), os.environ)
    set_up_logging(master.log_level, master.log_format)
    uvloop.run(_serve(master, worker))
    return 0


def _master_settings(argv: Sequence[str]) -> MasterSettings:
    """Read the flags; without a database of one's own there is an embedded one."""
    given = read_master(argv, os.environ)
    if given.store_type == "postgres":
        return given
    database = f"embedded:{given.data_dir / 'postgres'}"
    return read_master([*argv, "--store-type", "postgres", "--database-url", database], os.environ)


def _worker_flags(master: MasterSettings) -> list[str]:
    flags = ["--master-url", master.advertised(master.port), "--log-level", master.log_level]
    if master.token_file is not None:
        flags += ["--token-file", str(master.token_file)]
    if master.policy_file is not None:
        flags += ["--policy", str(master.policy_file)]
    return flags


async def _serve(master: MasterSettings, worker: WorkerSettings) -> None:
    import logging

    from podling.boot.master import running_master
    from podling.boot.worker import opened_worker

    async with running_master(master) as address, opened_worker(_trusting(worker, master)) as working:
        logging.getLogger("podling.dev").info("ready at %s; Ctrl-C ends it, containers go on", address)
        _stop_at_signals(working)
        await working.run()


def _trusting(worker: WorkerSettings, master: MasterSettings) -> WorkerSettings:
    """Return the worker's settings with the authority that the master has made, if it has."""
    from podling.boot.certificates import FOLDER, SHOWN

    if not master.tls_self_signed or worker.tls_ca is not None:
        return worker
    return replace(worker, tls_ca=master.data_dir / FOLDER / SHOWN)


def _stop_at_signals(working: "Worker") -> None:
    from podling.boot.worker import stopper

    loop, stop = asyncio.get_running_loop(), stopper(working)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, f"it got {signal.Signals(number).name}")
