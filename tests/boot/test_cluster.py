"""`bin/cluster`, in a copy of the repository's programs: what it starts, and what it leaves behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker_engine import IMAGE, docker, engine_answers, make_image
from tests.support import require

ROOT = Path(__file__).resolve().parents[2]


def free_ports() -> int:
    """Return the first of three ports in a row that are free now; other test processes look elsewhere."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for first in range(21070 + 1000 * process, 31070, 7):
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            try:
                for number, probe in enumerate((one, two, three)):
                    probe.bind(("127.0.0.1", first + number))
            except OSError:
                continue
            return first
    raise AssertionError("no three ports in a row are free")


class Copy:
    """A folder with the programs of the repository and files of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        folder.mkdir()
        shutil.copytree(ROOT / "bin", folder / "bin")
        shutil.copy(ROOT / "Makefile", folder / "Makefile")
        for name in (".venv", "cmd", "podling"):
            (folder / name).symlink_to(ROOT / name)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        own = {name: text for name, text in os.environ.items() if not name.startswith(("PODLING_", "STORE_"))}
        return subprocess.run(
            words,
            cwd=self.folder,
            env=own | {"STORE_TYPE": "memory", "PODLING_PORT": str(self.port)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def cluster(self, verb: str) -> subprocess.CompletedProcess[str]:
        return self.run("bin/cluster", verb)

    def podling(self, *words: str) -> str:
        done = self.run("bin/podling", "--master", f"http://127.0.0.1:{self.port}", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, name: str) -> None:
        os.kill(int((self.folder / f"var/cluster/{name}.pid").read_text()), signal.SIGKILL)


def wait_for_container(task_id: str) -> None:
    """Return once the engine has started the task's container."""
    filters = ("--filter", "event=start", "--filter", f"label=podling.io/task={task_id}")
    watch = ["timeout", "30", "docker", "events", "--since", "10m", *filters]
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as events:
        assert events.stdout is not None
        assert events.stdout.readline(), "the container has not started within 30 s"
        events.terminate()


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    require(engine_answers(), "no Docker engine answers")
    made = Copy(tmp_path / "podling", free_ports())
    try:
        yield made
    finally:
        made.cluster("remove")


def test_it_is_up_with_its_workers_online_and_names_what_it_leaves(copy: Copy) -> None:
    make_image()
    started = copy.cluster("start")
    assert started.returncode == 0, started.stderr
    nodes = json.loads(copy.podling("--json", "nodes"))
    assert [node["status"] for node in nodes] == ["online", "online"]

    kept = ("--on-disconnect", "keep", "--on-lost", "fail")
    answer = copy.podling("--json", "run", "long", "-i", IMAGE, *kept, "--", "sleep", "1000")
    task_id = json.loads(answer)["taskId"]
    wait_for_container(task_id)
    copy.kill("master")  # an unclean end: nothing more than usual is said of it
    stopped = copy.cluster("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert task_id in stopped.stdout
    assert "bin/cluster remove ends them" in stopped.stdout

    cleaned = copy.run("make", "clean")
    assert cleaned.returncode != 0
    assert task_id in cleaned.stderr
    assert (copy.folder / "var/cluster/worker-1/node-id").exists()

    assert copy.cluster("remove").returncode == 0
    assert docker("ps", "-aq", "--filter", f"label=podling.io/task={task_id}") == ""
    assert copy.cluster("check").returncode == 0


def test_another_master_at_its_port_is_no_success(copy: Copy, tmp_path: Path) -> None:
    flags = ["--port", str(copy.port), "--data-dir", str(tmp_path / "other")]
    with subprocess.Popen([copy.folder / "bin/podling-master", *flags], stderr=subprocess.PIPE) as other:
        try:
            assert other.stderr is not None
            assert any(b"listening on" in line for line in other.stderr)
            refused = copy.cluster("start")
            assert refused.returncode == 1
            assert f"port {copy.port} on 127.0.0.1 is in use" in refused.stderr
            assert "PODLING_PORT" in refused.stderr
            assert not list((copy.folder / "var/cluster").glob("*.pid"))
            assert json.loads(copy.podling("--json", "nodes")) == []
        finally:
            other.terminate()
