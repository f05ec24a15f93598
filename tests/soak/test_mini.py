"""A minute of the long run, so that it works when it is wanted; the hour itself is `make soak`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import require

MINUTES = 0.6


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_in_a_short_run(tmp_path: Path) -> None:
    require(os.geteuid() == 0, "processes of several workers and a server of one's own need root")
    require(Path("/bin/busybox").exists(), "the processes are busybox's")
    flags = ["--minutes", str(MINUTES), "--seed", "1", "--rate", "5", "--streams", "40", "--warm-up", "5"]
    flags += ["--idle", "3", "--without-docker", "--json", str(tmp_path / "result.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *flags], check=False, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert "\nCHAOS_RESULT verdict=passed seed=1 tasks=" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["violations"] == {}
    assert set(result["tasks"]) == {"process", "simulated"}
    assert sum(result["tasks"].values()) > 0
    assert sum(result["faults"].values()) > 0
    assert sum(result["staleSent"].values()) > 0
    assert all(usage["asyncio_tasks"] > 0 for usage in result["after"].values())
    assert result["streams"]["broken off"] > 0
