"""A long job: it counts to ROWS and goes on from its last checkpoint when it is tried again.

podling/task.py is all that it needs beside Python: copy both into the image.
"""

import importlib
import os
import time


def main() -> None:
    try:
        inside = importlib.import_module("podling.task")
    except ImportError:
        inside = importlib.import_module("task")  # the file alone, beside this one
    task = inside.current()
    rows, seconds = int(os.environ.get("ROWS", "10")), float(os.environ.get("ROW_SECONDS", "1"))
    last = task.last_checkpoint()
    row = last["data"]["row"] if last else 0
    print(f"attempt {task.attempt} begins after row {row}", flush=True)
    with task.lock("long-job", wait_seconds=60):
        while row < rows:
            time.sleep(seconds)  # the work
            row += 1
            task.checkpoint({"row": row}, progress=100 * row / rows)
            print(f"saved row {row}", flush=True)
        task.cache_set("rows", row)
    task.result({"rows": row})
    print("done")


if __name__ == "__main__":
    main()
