"""docs/long-job.md, typed command by command: a long job that survives its machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import Programs, programs, until
from tests.e2e.test_inside import saved

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/long-job.md"
LONG, SHORT = "ROWS=500", "ROWS=60"  # nobody waits for a test as for a long job

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-inside")]


@pytest.fixture
def running(engine: None) -> Iterator[Programs]:
    started: Programs
    with programs("postgres", lease_seconds=60) as started:
        started.start_master()
        started.start_worker("worker")
        started.wait_for_workers(1)
        (started.directory / "podling").write_text(
            f'#!/bin/sh\nexec {sys.executable} {ROOT}/cmd/podling/main.py "$@"\n'
        )
        (started.directory / "podling").chmod(0o755)
        yield started


def blocks() -> list[str]:
    """Return what the page says to type: the blocks that are in no language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for language, block in fenced if not language]


def typed(running: Programs, block: str) -> str:
    """Return what the commands print; each has to end well."""
    environment = os.environ | {
        "PATH": f"{running.directory}:{os.environ['PATH']}",
        "PODLING_MASTER_URL": running.master_url,
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["sh", "-ec", block], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, (block, done.stdout, done.stderr)
    return done.stdout


def test_the_page_does_what_it_says(running: Programs) -> None:
    run, watch, kill, logs, show, end, remove = blocks()
    typed(running, run.replace(LONG, SHORT))
    task_id = running.client.find("long")["taskId"]
    until("it has saved something", lambda: len(saved(running, task_id)) >= 5 or None)
    typed(running, kill)
    until("another attempt has begun", lambda: running.task(task_id)["attempt"] == 2 or None)
    until("it goes on", lambda: running.task(task_id)["progress"])
    seen = typed(running, watch)  # late, so that a slow machine kills it before its end
    assert "% done" in seen and '{"row": ' in seen
    until("it has begun", lambda: "begins after" in typed(running, logs) or None)
    first = [one for one in running.client.checkpoints.of(task_id) if one["attempt"] == 1]
    assert f"attempt 2 begins after row {first[0]['data']['row']}\n" in typed(running, logs)
    assert "row" in typed(running, show)
    told = typed(running, end)
    task = json.loads(told[told.index("{") :])
    assert (task["status"], task["result"], task["progress"]) == ("completed", {"rows": 60}, 100)
    assert saved(running, task_id) == list(range(60, 0, -1))
    assert typed(running, remove) == "60 removed\n"
