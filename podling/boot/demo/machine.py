"""The demo's cluster: an engine, a folder for its files, a master on embedded Postgres, workers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from podling.boot.demo.ending import Ending, family_of
from podling.boot.demo.programs import STOP_SECONDS, ChildProgram, clean_environment, is_alive
from podling.client import Client, cluster, nodes, tasks
from podling.core.errors import PodlingError, RuntimeFailure, Unavailable
from podling.core.value import value
from podling.worker.runtime import docker_labels

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "podling-busybox:local"
READY_SECONDS = 60.0
PAUSE_SECONDS = 0.1

Note = Callable[[str], None]
T = TypeVar("T")


@value
class Engine:
    """What runs the demo's tasks: `docker` with an image, or `process` where no engine can be had."""

    runtime: str
    image: str | None = None


def find_engine(note: Note) -> Engine:
    """Bring up a Docker engine and an image; without one say so, and use the process runtime."""
    for helper in ("ensure-docker", "make-image"):
        done = subprocess.run([ROOT / "bin" / helper], capture_output=True, text=True, check=False)
        for line in (done.stdout + done.stderr).strip().splitlines():
            note(line)
        if done.returncode != 0:
            note("without Docker the tasks run as plain processes")
            return Engine(runtime="process")
    return Engine(runtime="docker", image=IMAGE)


def free_port(wanted: int = 0) -> int:
    """Return `wanted` if nobody listens there, or else a port that is free now."""
    for port in dict.fromkeys((wanted, 0)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Unavailable("no TCP port is free on 127.0.0.1")


class Cluster:
    """A master and its workers, ended with everything they started when the block is left."""

    def __init__(self, engine: Engine, port: int, note: Note, ending: Ending) -> None:
        self.engine = engine
        self._ending = ending
        self.url = f"http://127.0.0.1:{port}"
        self.client = Client(self.url)
        self.workers: dict[str, ChildProgram] = {}
        self._port = port
        self._note = note
        self._programs: list[ChildProgram] = []
        self._cluster_id: str | None = None
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="podling-demo-"))
        self._folder.chmod(0o755)  # the database runs as another user where the caller is root
        try:
            self._start_master()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean_up()

    def start_worker(self, name: str) -> None:
        """Start a worker; one that was started before finds its journal again."""
        command = [sys.executable, str(ROOT / "cmd/worker/main.py")]
        command += ["--hostname", name, "--port", str(free_port()), "--master-url", self.url]
        command += ["--data-dir", str(self._folder / name), "--runtime", self.engine.runtime]
        if self.engine.runtime == "process":
            command += ["--allow-root-processes"]
        self.workers[name] = self._start(name, command, clean_environment())

    def wait_for_nodes(self, count: int) -> list[Mapping[str, Any]]:
        """Return the nodes once `count` of them are online, and have shown that they stay."""

        def online() -> list[Mapping[str, Any]] | None:
            found = [node for node in self.client.list_all(nodes.listing) if _is_settled(node)]
            return found if len(found) >= count else None

        return sorted(
            self.wait_until(f"{count} workers are online", online), key=lambda n: str(n["hostname"])
        )

    def wait_for_an_end(self) -> None:
        """Return when one of the programs has ended by itself; raise RuntimeFailure with its last line."""
        while True:
            for program in self._programs:
                if program.wait(1.0):
                    raise RuntimeFailure(f"{program.name} has ended: {program.last_words()}")

    def wait_until(self, what: str, attempt: Callable[[], T | None]) -> T:
        """Return what `attempt` returns once it is something."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self._check_programs()
            with suppress(Unavailable):
                found = attempt()
                if found is not None:
                    return found
            time.sleep(PAUSE_SECONDS)
        raise Unavailable(f"after {READY_SECONDS:.0f} s still not: {what}; see {self._folder}")

    def _start_master(self) -> None:
        command = [sys.executable, str(ROOT / "cmd/master/main.py")]
        command += ["--port", str(self._port), "--data-dir", str(self._folder / "master")]
        database = {"STORE_TYPE": "postgres", "DATABASE_URL": f"embedded:{self._folder / 'postgres'}"}
        self._start("master", command, clean_environment() | database)

        def overview() -> Mapping[str, Any] | None:
            found = self.client.send(cluster.read())
            return found if found["leader"] else None

        found = self.wait_until("the master is ready", overview)
        self._cluster_id = str(found["clusterId"])
        self._note(f"the master answers at {self.url}, its tasks kept in an embedded PostgreSQL")

    def _start(self, name: str, command: list[str], environ: dict[str, str]) -> ChildProgram:
        program = ChildProgram(name, command, environ, self._folder / f"{name}.log")
        self._programs = [other for other in self._programs if other.name != name] + [program]
        return program

    def _check_programs(self) -> None:
        for program in self._programs:
            if not program.runs():
                raise RuntimeFailure(f"{program.name} has ended: {program.last_words()}")

    def _clean_up(self) -> None:
        """End everything; a second signal ends it faster, and leaves nothing either."""
        self._ending.begin(self._kill_all)
        if self._cluster_id is not None:
            self._cancel_all()
        for program in reversed(self._programs):
            program.stop()
        self._end_strays()
        self._remove_containers()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kill_all(self) -> None:
        """Kill what belongs to us, so that nobody waits for it any longer; the rest goes on as begun."""
        for pid in family_of(str(self._folder)):
            _end(pid, hurried=True)

    def _cancel_all(self) -> None:
        """Cancel what has not ended, so that no container outlives its worker."""
        unfinished = ("pending", "scheduled", "running")
        deadline = time.monotonic() + READY_SECONDS / 2
        try:
            while time.monotonic() < deadline and not self._ending.is_hurried:
                page = self.client.send(tasks.listing(statuses=unfinished))
                if not page.items:
                    return
                for task in page.items:
                    with suppress(PodlingError):
                        self.client.send(tasks.cancel(str(task["taskId"])))
                time.sleep(PAUSE_SECONDS)
        except PodlingError as error:
            if not self._ending.is_hurried:
                self._note(f"the tasks could not be cancelled: {error.message}")

    def _end_strays(self) -> None:
        """End what names our folder on its command line: a keeper with processes, an orphaned database."""
        strays = family_of(str(self._folder))
        for pid in strays:
            _end(pid, hurried=self._ending.is_hurried)
        for pid in strays:
            _wait_for_end(pid)

    def _remove_containers(self) -> None:
        if self.engine.runtime != "docker" or self._cluster_id is None:
            return
        mine = f"label={docker_labels.CLUSTER}={self._cluster_id}"
        found = subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter", mine],
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
            start_new_session=True,  # or a Ctrl-C would break it off
        )
        if containers := found.stdout.split():
            subprocess.run(
                ["docker", "rm", "--force", "--volumes", *containers],
                capture_output=True,
                check=False,
                timeout=READY_SECONDS,
                start_new_session=True,
            )


def _end(pid: int, *, hurried: bool) -> None:
    """PostgreSQL has memory to give back, and ends its own processes; others have nothing to lose."""
    with suppress(OSError):
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        if program.startswith(b"postgres:"):
            return
        is_database = b"postgres" in program
        at_once = signal.SIGQUIT if is_database else signal.SIGKILL
        os.kill(pid, signal.SIGINT if is_database and not hurried else at_once)


def _is_settled(node: Mapping[str, Any]) -> bool:
    """Whether a node has beaten; at its very first start a worker dials twice."""
    return node["status"] == "online" and str(node["lastHeartbeat"]) > str(node["registeredAt"])


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive(pid):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(PAUSE_SECONDS)
