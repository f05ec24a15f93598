"""Several real masters on one embedded Postgres, with real workers that run plain processes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podling.client import Client, cluster, nodes, tasks
from tests.e2e.programs import free_port, until
from tests.support import end

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """Programs by name, each with a port and a data directory that its next start finds again."""

    def __init__(self, directory: Path, lease_seconds: float) -> None:
        self.directory = directory
        self._lease_seconds = lease_seconds
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports.setdefault(name, free_port())}"

    def client(self, *names: str) -> Client:
        return Client(",".join(self.url(name) for name in names))

    def start_master(self, name: str, *flags: str) -> None:
        """Start it and wait until it answers."""
        own = ("--lease-seconds", str(self._lease_seconds), *flags)
        self.start(name, "master", *own)
        until(f"{name} answers\n{self.log(name)}", lambda: self.overview(name))

    def start_worker(self, name: str, *masters: str) -> None:
        """Start it and wait until a master says that it is online."""
        urls = ",".join(self.url(master) for master in masters)
        self.start(
            name,
            "worker",
            "--label",
            f"worker={name}",
            "--master-url",
            urls,
            "--runtime",
            "process",
            "--allow-root-processes",
        )
        until(f"{name} is online\n{self.log(name)}", lambda: self.node(masters[0], name))

    def start(self, name: str, program: str, *flags: str) -> "subprocess.Popen[bytes]":
        own = ["--port", str(self._ports.setdefault(name, free_port()))]
        own += ["--data-dir", str(self.directory / name)]
        if program == "worker":
            own += ["--hostname", name]
        with (self.directory / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, str(ROOT / "cmd" / program / "main.py"), *own, *flags],
                env=self._environment(),
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        self._running[name] = started
        return started

    def command(self, *arguments: str, masters: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start `podling` with these masters' addresses."""
        urls = ",".join(self.url(name) for name in masters)
        return subprocess.Popen(
            [sys.executable, str(ROOT / "cmd" / "podling" / "main.py"), "--master", urls, *arguments],
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
        )

    def _environment(self) -> dict[str, str]:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("PODLING_")}
        database = f"embedded:{self.directory / 'postgres'}"
        return clean | {"STORE_TYPE": "postgres", "DATABASE_URL": database}

    def kill(self, name: str) -> None:
        """End the program without giving it a chance."""
        program = self._running.pop(name)
        program.kill()
        program.wait()

    def terminate(self, name: str) -> "subprocess.Popen[bytes]":
        """Ask the program to end, and do not wait for it."""
        self._running[name].terminate()
        return self._running.pop(name)

    def runs(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def overview(self, name: str) -> Mapping[str, Any]:
        return dict(self.client(name).send(cluster.read()))

    def leads(self, name: str) -> bool:
        """Whether this master says that itself leads."""
        told = self.overview(name)
        return any(item["leader"] and item["advertiseUrl"] == self.url(name) for item in told["masters"])

    def node(self, master: str, name: str) -> Mapping[str, Any] | None:
        listed = self.client(master).list_all(nodes.listing)
        return next((node for node in listed if (node["hostname"], node["status"]) == (name, "online")), None)

    def holder(self, name: str, asked: str) -> str | None:
        """Return the address of the master that holds the node's session, as `asked` sees it."""
        if (node := self.node(asked, name)) is None:
            return None
        known = {item["masterId"]: str(item["advertiseUrl"]) for item in self.overview(asked)["masters"]}
        return known.get(node["masterId"])

    def run_process(self, master: str, script: str, **more: Any) -> str:
        """Submit a shell script as a plain process; return the task's id."""
        spec = {"name": "job", "runtime": "process", "command": ["sh", "-c", script], **more}
        return str(self.client(master).submit(spec)["taskId"])

    def task(self, task_id: str, *masters: str) -> Mapping[str, Any]:
        return dict(self.client(*masters).send(tasks.read(task_id)))

    def until_status(self, task_id: str, status: str, *masters: str) -> Mapping[str, Any]:
        def reached() -> Mapping[str, Any] | None:
            task = self.task(task_id, *masters)
            return task if task["status"] == status else None

        return until(f"{task_id} is {status}", reached)

    def stop(self) -> None:
        """End everything: workers first, then masters."""
        for name in sorted(self._running, key=lambda name: name.startswith("master")):
            end(self._running.pop(name))


@contextmanager
def several_masters(lease_seconds: float = 2.0) -> Iterator[Cluster]:
    """Give a cluster in which nothing runs yet, and nothing runs on afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="podling-masters-"))
    directory.chmod(0o755)
    under_test = Cluster(directory, lease_seconds)
    try:
        yield under_test
    finally:
        under_test.stop()
        shutil.rmtree(directory, ignore_errors=True)
