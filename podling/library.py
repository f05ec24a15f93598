"""A master or a worker inside one's own program, started and stopped by its code.

The flags are those of `podling-master` and `podling-worker`; what they leave out stands in the
environment, as for the programs. Signals and logging stay the caller's.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from podling.boot import master
from podling.boot.settings import read_master, read_worker
from podling.boot.worker import opened_worker


@asynccontextmanager
async def running_master(*flags: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Give the address of a master that runs meanwhile; with `--databases` it is one for each.

    Raises ConfigurationError that tells all faults at once, StoreUnavailable.
    """
    settings = read_master(flags, os.environ if environ is None else environ)
    async with master.running_master(settings) as address:
        yield address


@asynccontextmanager
async def running_worker(*flags: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """Have a worker run meanwhile; what it runs in containers goes on afterwards.

    Raises ConfigurationError, and at the end what ended the worker before.
    """
    settings = read_worker(flags, os.environ if environ is None else environ)
    async with opened_worker(settings) as worker:
        running = asyncio.create_task(worker.run(), name="worker")
        try:
            yield
        finally:
            worker.stop("its program ends")
            await running
