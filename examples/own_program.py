"""A whole cluster inside one program: a master on an embedded PostgreSQL, a worker, and a task.

Usage: .venv/bin/python examples/own_program.py DIRECTORY
The directory keeps the database and what the worker has in hand; the next start finds both again.
"""

import asyncio
import sys
from pathlib import Path

from podling import AsyncClient
from podling.core.errors import PodlingError
from podling.library import running_master, running_worker


async def main(directory: Path) -> None:
    master = ["--port", "0", "--data-dir", str(directory / "master")]
    master += ["--store-type", "postgres", "--database-url", f"embedded:{directory / 'postgres'}"]
    worker = ["--port", "0", "--data-dir", str(directory / "worker")]
    worker += ["--runtime", "process", "--allow-root-processes"]
    async with (
        running_master(*master) as address,
        running_worker("--master-url", address, *worker),
        AsyncClient(address) as client,
    ):
        task = await client.run("hello", runtime="process", command=["echo", "from my own program"])
        async for line in task.follow():
            print(line)
        print((await task.wait(timeout_seconds=60))["status"])


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except PodlingError as error:
        sys.exit(f"own_program: {error.message}")
