"""Submit a task from Python, wait for its end, print its log and what explain says.

Usage: .venv/bin/python examples/submit_and_wait.py [MASTER_URL]
"""

import json
import sys
from pathlib import Path

from podling.client import Client, tasks

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8070"
SPEC = json.loads(Path(__file__).with_name("hello.json").read_text())


def main() -> int:
    client = Client(URL)
    task_id = client.submit(SPEC)["taskId"]
    task = client.wait(task_id, timeout_seconds=60)
    print(client.send(tasks.logs(task_id)), end="")
    print(client.send(tasks.explain(task_id))["summary"])
    return 0 if task["status"] == "completed" else 1


if __name__ == "__main__":
    sys.exit(main())
