"""Real programs under test: a master on its embedded Postgres, workers, and their sudden ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import docker

from podling.client import Client, cluster, nodes, tasks
from podling.core.errors import PodlingError
from tests.support import end

T = TypeVar("T")
P = TypeVar("P", bound="Programs")

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "podling-busybox:local"
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02


def until(what: str, attempt: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Return the attempt's first true answer; fail with `what` after the deadline.

    A master that is away counts as no answer yet.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := attempt():
                return answer
        except PodlingError:
            pass  # it may be restarting, which is what these tests are about
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Programs:
    """Processes by name (`master`, or a worker's), with files in one temporary directory."""

    def __init__(self, directory: Path, environment: Mapping[str, str], lease_seconds: float) -> None:
        self.directory = directory
        self.port = free_port()
        self.master_url = f"http://127.0.0.1:{self.port}"  # where workers dial
        self.client = Client(self.master_url)
        self._environment = environment
        self._lease_seconds = lease_seconds
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._flags: dict[str, tuple[str, ...]] = {}

    @cached_property
    def engine(self) -> Any:
        """The Docker engine, which not every test needs."""
        return docker.from_env()

    def start_master(self, *flags: str) -> None:
        """Start it with the flags of its first start, and wait until it is ready."""
        flags = self._flags.setdefault("master", flags)
        own = ["--port", str(self.port), "--data-dir", str(self.directory / "master")]
        own += ["--lease-seconds", str(self._lease_seconds)]
        self._start("master", "master", [*own, *flags])
        until(f"the master is ready\n{self.log('master')}", self._is_ready)

    def _is_ready(self) -> bool:
        return bool(self.client.send(cluster.read())["epoch"])

    def start_worker(self, name: str, *flags: str) -> None:
        """Start it with the flags of its first start, and return without waiting."""
        port = self._ports.setdefault(name, free_port())
        flags = self._flags.setdefault(name, flags)
        own = ["--port", str(port), "--data-dir", str(self.directory / name), "--hostname", name]
        own += ["--master-url", self.master_url]
        self._start(name, "worker", [*own, *flags])

    def worker_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def wait_for_workers(self, count: int) -> None:
        until(f"{count} workers are online", lambda: self.online() == count or None)

    def online(self) -> int:
        return sum(node["status"] == "online" for node in self.client.list_all(nodes.listing))

    def _start(self, name: str, program: str, flags: Sequence[str]) -> None:
        code = f"from podling.boot.{program} import main; raise SystemExit(main())"
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*self._entering(name), sys.executable, "-c", code, *flags],
                env=os.environ | dict(self._environment),
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )

    def _entering(self, name: str) -> Sequence[str]:
        """Return what a program's command begins with: where else than here it shall run."""
        return ()

    def pause(self, name: str) -> None:
        """Let the program hang (SIGSTOP)."""
        self._running[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused program go on."""
        self._running[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        """End the program without giving it a chance (SIGKILL)."""
        program = self._running.pop(name)
        program.kill()
        program.wait()

    def kill_postgres(self) -> None:
        """End the embedded server's postmaster; whoever has it brings it back."""
        pid = int((self.directory / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def ask_to_end(self, name: str) -> "subprocess.Popen[bytes]":
        """Ask the program to end, and do not wait for it."""
        self._running[name].terminate()
        return self._running.pop(name)

    def terminate(self, name: str, seconds: float = 40.0) -> int:
        """End the program with SIGTERM; return its exit code."""
        program = self._running.pop(name)
        program.terminate()
        return program.wait(seconds)

    def runs(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def until_status(self, task_id: str, *wanted: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            task = self.task(task_id)
            return task if task["status"] in wanted else None

        return until(f"{task_id} is {' or '.join(wanted)}", reached, seconds)

    def task(self, task_id: str) -> dict[str, Any]:
        return dict(self.client.send(tasks.read(task_id)))

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        return [dict(attempt) for attempt in self.client.send(tasks.attempts(task_id)).items]

    def containers(self) -> list[Any]:
        """Return every container of this cluster, running or not."""
        label = f"podling.io/cluster={self.cluster_id}"
        return list(self.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True))

    @property
    def cluster_id(self) -> str:
        return str(self.client.send(cluster.read())["clusterId"])

    def stop(self) -> None:
        """End everything, workers first, and remove what containers are left."""
        for name in sorted(self._running, key=lambda name: name == "master"):
            program = self._running[name]
            end(program)
        self._running.clear()
        if "engine" in vars(self):
            self.engine.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def programs(
    store: str = "postgres",
    lease_seconds: float = 2.0,
    kind: Callable[[Path, Mapping[str, str], float], P] = Programs,
) -> Iterator[P]:
    """Give a directory and a master's settings; nothing runs yet, and nothing runs on afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="podling-e2e-"))
    directory.chmod(0o755)
    environment = {"STORE_TYPE": store, "PODLING_LOG_LEVEL": "info"}
    if store == "postgres":
        environment["DATABASE_URL"] = f"embedded:{directory / 'postgres'}"
    under_test = kind(directory, environment, lease_seconds)
    try:
        yield under_test
    finally:
        under_test.stop()
        shutil.rmtree(directory, ignore_errors=True)
