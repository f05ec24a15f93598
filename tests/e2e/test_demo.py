"""`make demo`, as people see it: it ends well, and leaves nothing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from podling.client import Client
from podling.worker.runtime import docker_labels
from tests.e2e.programs import IMAGE
from tests.support import require

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-e2e"), pytest.mark.timeout(240)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files that the database's own user can pass through."""
    made = Path(tempfile.mkdtemp(prefix="podling-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def demo(folder: Path, **environ: str) -> str:
    """Run the demo with its files in `folder` and return what it wrote."""
    ended = subprocess.run(
        [sys.executable, "-m", "podling.boot.demo"],
        cwd=ROOT,
        env=os.environ | environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def processes_with(text: object) -> dict[int, str]:
    """Return the command lines that name it, by process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(text) in command:
            found[int(path.parent.name)] = command
    return found


def test_with_docker_it_shows_everything_and_leaves_nothing(folder: Path) -> None:
    try:
        engine = docker.from_env()
        engine.images.get(IMAGE)
    except docker.errors.DockerException:
        require(False, "no Docker engine answers")
    told = demo(folder)
    assert "6 of 6 as expected" in told
    for words in (
        "attempt 2 on worker-",
        "kill -9",
        "step 6 of 6",
        "label zone != moon",
        "cancelled on request",
    ):
        assert words in told
    assert "missing here" not in told
    task_ids = re.findall(r"task ([0-9a-f-]{36})", told)
    assert len(task_ids) == 2
    for task_id in task_ids:
        label = f"{docker_labels.TASK}={task_id}"
        assert engine.containers.list(all=True, filters={"label": label}) == []
    assert processes_with(folder) == {}
    assert list(folder.iterdir()) == []
    engine.close()


def test_without_an_engine_it_runs_processes(folder: Path) -> None:
    told = demo(folder, DOCKER_HOST="tcp://127.0.0.1:1")
    assert "without Docker the tasks run as plain processes" in told
    assert "6 of 6 as expected" in told
    assert processes_with(folder) == {}
    assert list(folder.iterdir()) == []


def test_a_second_signal_while_it_ends_kills_everything(folder: Path) -> None:
    stays = subprocess.Popen(
        [sys.executable, "-m", "podling.boot.demo", "--stay"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder), "DOCKER_HOST": "tcp://127.0.0.1:1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        client = Client(_read_until(stays, r"Podling is up at (\S+\d)"))
        sleep = f"sleep {100_000 + os.getpid()}"  # nobody else's
        task = client.run("sleep", runtime="process", command=["sh", "-c", f"echo begun; exec {sleep}"])
        assert next(iter(task.follow())) == "begun"
        (master,) = (
            pid for pid, command in processes_with(folder).items() if "cmd/master/main.py" in command
        )
        os.kill(master, signal.SIGSTOP)  # so that what ends in order would wait for it
        stays.send_signal(signal.SIGINT)
        _read_until(stays, "ending; (.*)")
        stays.send_signal(signal.SIGINT)
        stays.wait(10)
    finally:
        for pid in [stays.pid, *processes_with(folder)] if stays.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        stays.communicate()
    assert processes_with(folder) == {}
    assert processes_with(sleep) == {}
    assert list(folder.iterdir()) == []


def _read_until(program: "subprocess.Popen[str]", pattern: str) -> str:
    assert program.stdout is not None
    for line in program.stdout:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"it ended without a word like {pattern}")
