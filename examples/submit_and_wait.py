"""Run a task from Python, show its lines as they are written, and what explain says at its end.

Usage: .venv/bin/python examples/submit_and_wait.py [MASTER_URL]
Without an argument PODLING_MASTER_URL says where the master is, else http://127.0.0.1:8070.
PODLING_TOKEN_FILE names the file with its token, if it wants one, and PODLING_TLS_CA the file of the
authority that is trusted on https.
"""

import os
import ssl
import sys
from pathlib import Path

from podling import Client
from podling.core.errors import PodlingError

SCRIPT = "for number in 1 2 3; do echo line $number; sleep 0.2; done"


def connect() -> Client:
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PODLING_MASTER_URL")
    token_file = os.environ.get("PODLING_TOKEN_FILE")
    token = Path(token_file).read_text().strip() if token_file else None
    trusted = ssl.create_default_context(cafile=os.environ.get("PODLING_TLS_CA"))
    return Client(url or "http://127.0.0.1:8070", token=token, tls=trusted)


def main() -> int:
    client = connect()
    task = client.run("hello", image="podling-busybox:local", command=["sh", "-c", SCRIPT], timeoutSeconds=60)
    for line in task.follow():
        print(line)
    ended = task.wait(timeout_seconds=60)
    print(task.explain()["summary"])
    return 0 if ended["status"] == "completed" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PodlingError as error:
        sys.exit(f"submit_and_wait: {error.message}")
