"""Submit a task from Python, wait for its end, print its log and what explain says.

Usage: .venv/bin/python examples/submit_and_wait.py [MASTER_URL]
Without an argument PODLING_MASTER_URL says where the master is, else http://127.0.0.1:8070.
PODLING_TOKEN_FILE names the file with its token, if it wants one.
"""

import json
import os
import sys
from pathlib import Path

from podling.client import Client, tasks
from podling.core.errors import PodlingError

SPEC = json.loads(Path(__file__).with_name("hello.json").read_text())


def connect() -> Client:
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PODLING_MASTER_URL")
    token_file = os.environ.get("PODLING_TOKEN_FILE")
    token = Path(token_file).read_text().strip() if token_file else None
    return Client(url or "http://127.0.0.1:8070", token=token)


def main() -> int:
    client = connect()
    task_id = client.submit(SPEC)["taskId"]
    task = client.wait(task_id, timeout_seconds=60)
    print(client.send(tasks.logs(task_id)), end="")
    print(client.send(tasks.explain(task_id))["summary"])
    return 0 if task["status"] == "completed" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PodlingError as error:
        sys.exit(f"submit_and_wait: {error.message}")
