"""Several masters and workers as real programs, on whatever database a test gives them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from podling.client import Client, cluster, nodes, tasks
from tests.e2e.programs import free_port, until
from tests.support import end

LEADS, LEADS_NO_MORE = "this master leads, epoch", "this master does not lead any more"


class Cluster:
    """Programs by name, with their files in one directory; masters are named master-1 and so on."""

    def __init__(self, directory: Path, lease_seconds: float) -> None:
        self.directory = directory
        self.lease_seconds = lease_seconds
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def start_master(self, name: str, *flags: str, environment: Mapping[str, str]) -> None:
        """Start it and wait until it answers."""
        own = ["--lease-seconds", str(self.lease_seconds)]
        variables = {"STORE_TYPE": "postgres", **environment}
        self._start(name, "master", [*own, *flags], variables)
        until(f"{name} is ready (its log: {self.directory / name}.log)", lambda: self._is_ready(name))

    def _is_ready(self, name: str) -> bool:
        assert self.runs(name), self.log(name)
        return bool(self.status_of(name, "/ready")[0] == 200)

    def start_worker(self, name: str, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        """Start one that runs processes, and that knows every master; return without waiting."""
        masters = [other for other in self._ports if other.startswith("master")]
        own = ["--hostname", name, "--master-url", ",".join(self.url(master) for master in masters)]
        own += ["--runtime", "process", "--allow-root-processes", "--capacity", "50", "--cpu", "50"]
        own += ["--memory", "50Gi", "--shutdown-timeout", "2"]
        self._start(name, "worker", [*own, *flags], environment or {})

    def _start(self, name: str, program: str, flags: list[str], environment: Mapping[str, str]) -> None:
        port = self._ports.setdefault(name, free_port())
        own = ["--port", str(port), "--log-format", "json"]
        if "--data-dir" not in flags:
            own += ["--data-dir", str(self.directory / name)]
        code = f"from podling.boot.{program} import main; raise SystemExit(main())"
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-c", code, *own, *flags],
                env=os.environ | dict(environment), stdout=log, stderr=log, cwd=self.directory,
            )  # fmt: skip

    def signal(self, name: str, number: int) -> None:
        self._running[name].send_signal(number)

    def kill(self, name: str) -> None:
        program = self._running.pop(name)
        program.kill()
        program.wait()

    def ended(self, name: str) -> int:
        """Wait for the end of a program that was told to stop, and return its exit code."""
        return self._running.pop(name).wait(60)

    def runs(self, name: str) -> bool:
        return self._running[name].poll() is None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def client(self, *names: str) -> Client:
        return Client(",".join(self.url(name) for name in names), timeout_seconds=15)

    def status_of(self, name: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any, Any]:
        """Return an answer's status, headers and JSON; status 0 while nothing listens."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url(name) + path, data=data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.headers, json.load(error)
        except OSError:
            return 0, {}, {}

    def wait_for_workers(self, count: int, *, through: str = "master-1") -> None:
        def online() -> bool:
            listed = self.client(through).list_all(nodes.listing)
            return sum(node["status"] == "online" for node in listed) == count

        until(f"{count} workers are online", online)

    def leader(self, *names: str) -> str | None:
        """Return which of the masters the store holds to be the leader."""
        seen = self.client(*names).send(cluster.read())
        urls = {master["masterId"]: master["advertiseUrl"] for master in seen["masters"]}
        return next((name for name in names if urls.get(seen["leader"]) == self.url(name)), None)

    def moments(self, name: str, words: str) -> list[datetime]:
        """Return when a program logged a message that begins with these words."""
        lines = [_record(line) for line in (self.directory / f"{name}.log").read_text().splitlines()]
        return [
            datetime.fromisoformat(line["time"])
            for line in lines
            if str(line.get("message", "")).startswith(words)
        ]

    def whole_log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def stop(self) -> None:
        """End everything, workers and what they run first."""
        for name in sorted(self._running, key=lambda name: name.startswith("master")):
            program = self._running[name]
            program.send_signal(signal.SIGCONT)
            end(program)
        self._running.clear()


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def a_cluster(lease_seconds: float = 3.0) -> Iterator[Cluster]:
    """Give a directory in which nothing runs yet; nothing runs on afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="podling-faults-"))
    started = Cluster(directory, lease_seconds)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Ledger:
    """What tasks wrote outside Podling: a line at the start and a line at the end of every attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def spec(self, name: str, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
        script = (
            f'echo "start $PODLING_TASK_ID $PODLING_ATTEMPT" >> {self.path}; sleep {seconds}; '
            f'echo "end $PODLING_TASK_ID $PODLING_ATTEMPT" >> {self.path}'
        )
        return {"name": name, "runtime": "process", "command": ["/bin/sh", "-c", script], **more}

    def count(self, word: str, task_id: str, attempt: int | None = None) -> int:
        """Return how often an attempt (None: any) of the task wrote the word."""
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return sum(row[:2] == [word, task_id] and (attempt is None or int(row[2]) == attempt) for row in rows)


def ended(client: Client, task_id: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the task once it has ended."""

    def found() -> dict[str, Any] | None:
        task = dict(client.send(tasks.read(task_id)))
        return task if task["status"] in ("completed", "failed", "cancelled") else None

    return until(f"{task_id} ends", found, seconds)


def check_once_each(client: Client, ledger: Ledger, task_ids: list[str], told: str) -> None:
    """Every task is there, completed, and the ledger has exactly one end and no attempt twice."""
    assert len(set(task_ids)) == len(task_ids), told
    for task_id in task_ids:
        task = ended(client, task_id)
        assert task["status"] == "completed", (told, task)
        for attempt in range(1, task["attempt"] + 1):
            assert ledger.count("start", task_id, attempt) <= 1, (told, task_id, attempt)
        assert ledger.count("end", task_id, task["attempt"]) == 1, (told, task)


def report(figure: str) -> None:
    """Show what was measured (with pytest's `-s` or `-rP`)."""
    sys.stdout.write(f"{figure}\n")
