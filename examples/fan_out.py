"""Submit many tasks at once with asyncio, wait for all, and print what each has written.

Usage: .venv/bin/python examples/fan_out.py [COUNT]
PODLING_MASTER_URL says where the masters are, PODLING_TOKEN_FILE names the file with the token,
PODLING_TLS_CA the file of the authority that is trusted on https.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path

from podling import AsyncClient
from podling.client import AsyncTaskHandle
from podling.core.errors import PodlingError

IMAGE = "podling-busybox:local"


def connect() -> AsyncClient:
    token_file = os.environ.get("PODLING_TOKEN_FILE")
    token = Path(token_file).read_text().strip() if token_file else None
    trusted = ssl.create_default_context(cafile=os.environ.get("PODLING_TLS_CA"))
    url = os.environ.get("PODLING_MASTER_URL", "http://127.0.0.1:8070")
    return AsyncClient(url, token=token, tls=trusted)


async def main(count: int) -> int:
    scripts = {f"square-{number}": f"echo $(({number} * {number}))" for number in range(count)}
    specs = [
        {"name": name, "image": IMAGE, "command": ["sh", "-c", script]} for name, script in scripts.items()
    ]
    async with connect() as client:
        outputs = await asyncio.gather(*map(_output, await client.submit_many(specs)))
    print("\n".join(outputs))
    return 0


async def _output(task: AsyncTaskHandle | PodlingError) -> str:
    if isinstance(task, PodlingError):
        return f"refused: {task.message}"
    ended = await task.wait(timeout_seconds=300)
    return f"{ended['name']}: {(await task.output()).strip()}"


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)))
    except PodlingError as error:
        sys.exit(f"fan_out: {error.message}")
