"""Functions as tasks: this module registers two, and as a program it submits some and tells their ends.

A worker runs them, started where this file is:
    ../bin/podling-worker --handlers functions --port 0 --data-dir /tmp/functions
Then, anywhere: .venv/bin/python examples/functions.py
PODLING_MASTER_URL says where the masters are, PODLING_TOKEN_FILE names the file with the token,
PODLING_TLS_CA the file of the authority that is trusted on https.
"""

import asyncio
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from podling import Client
from podling.core.errors import PodlingError
from podling.handlers import Context, Fail, Retry, handler


@handler("example.square")
def square(payload: Any, context: Context) -> None:
    """Not async, so it runs in a thread, and may take as long as it likes."""
    print(payload * payload)


@handler("example.greet", concurrency=10, timeout_seconds=30)
async def greet(payload: Any, context: Context) -> None:
    """Ten at a time in each worker; what it raises says whether trying again may help."""
    if "name" not in payload:
        raise Fail("BAD_PAYLOAD", "there is nobody to greet")
    if context.attempt == 1:
        raise Retry("DEPENDENCY_DOWN", "the one who greets has not come yet")
    await asyncio.sleep(0.01)
    print(f"hello {payload['name']}, this is attempt {context.attempt}")


def connect() -> Client:
    token_file = os.environ.get("PODLING_TOKEN_FILE")
    token = Path(token_file).read_text().strip() if token_file else None
    trusted = ssl.create_default_context(cafile=os.environ.get("PODLING_TLS_CA"))
    return Client(os.environ.get("PODLING_MASTER_URL", "http://127.0.0.1:8070"), token=token, tls=trusted)


def main() -> int:
    client = connect()
    wanted = {
        "square of 7": ("example.square", 7),
        "greeting for Ada": ("example.greet", {"name": "Ada"}),
        "greeting for nobody": ("example.greet", {}),
    }
    running = [
        client.run(name, runtime="python", handler=job, payload=payload, retry={"baseSeconds": 0.1})
        for name, (job, payload) in wanted.items()
    ]
    for task in running:
        ended = task.wait(timeout_seconds=60)
        output = task.output().strip() or f"{ended['errorCode']}: {ended['error']}"
        print(f"{ended['name']}: {ended['status']}, {output}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PodlingError as error:
        sys.exit(f"functions: {error.message}")
