"""Secrets that are planted in real programs, and everything that these programs let be seen."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from podling.client import Client
from tests.e2e.programs import Programs

ROOT = Path(__file__).resolve().parents[2]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
COMMAND_SECONDS = 60.0
SHARED = "shared-of-token-file-" + "5e" * 20
SMTP_PASSWORD = "smtp-password-" + "7a" * 12


@dataclass
class Evidence:
    """What was seen and where, and which secret may be where."""

    secrets: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def plant(self, name: str, secret: str) -> str:
        assert len(secret) >= 16, name
        self.secrets[name] = secret
        return secret

    def saw(self, place: str, text: str) -> str:
        self.seen.append((place, text))
        return text

    def found(self) -> set[tuple[str, str]]:
        """Return each secret with each place that holds it."""
        return {
            (name, place)
            for place, text in self.seen
            for name, secret in self.secrets.items()
            if secret in text
        }


class Guarded(Programs):
    """Programs that want tokens; all that they answer, print and write is evidence."""

    evidence: Evidence

    def __init__(self, directory: Path, environment: Mapping[str, str], lease_seconds: float) -> None:
        super().__init__(directory, environment, lease_seconds)
        self.client = Client(self.master_url, token=SHARED)
        self.shared = self.private("shared", SHARED)

    def with_settings(self, **settings: str) -> None:
        """Give programs that start from now on these variables too."""
        self._environment = dict(self._environment) | settings

    def private(self, name: str, text: str) -> Path:
        """Write a file that only its owner can read."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def ask(
        self, method: str, path: str, body: Any = None, worker: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """Send one request, to the master or a worker, and keep the whole answer; return status and body."""
        port = self.port if worker is None else self._ports[worker]
        connection = HTTPConnection("127.0.0.1", port, timeout=20.0)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, path, payload, {"Authorization": f"Bearer {SHARED}"} | named)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        self.evidence.saw(
            f"answer to {method} {UUID.sub('ID', path)}", f"{answer.status} {answer.headers}\n{text}"
        )
        return answer.status, text

    def command(self, *words: str, token_file: Path | None = None) -> str:
        """Run `podling`, whatever comes of it, and keep what it prints; return its standard output."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "cmd" / "podling" / "main.py"), *words],
            env=os.environ
            | {"PODLING_MASTER_URL": self.master_url, "PODLING_TOKEN_FILE": str(token_file or self.shared)},
            cwd=self.directory, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        self.evidence.saw(f"podling {' '.join(words)}", done.stdout + done.stderr)
        return done.stdout

    def fails_to_start(self, **settings: str) -> str:
        """Start a master that cannot; return what it says."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "cmd" / "master" / "main.py"), "--port", "0"],
            env=os.environ | dict(self._environment) | settings,
            cwd=self.directory, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        return self.evidence.saw("a start that fails", done.stdout + done.stderr)

    def look_at_processes(self) -> None:
        """Keep the command line of every process, which is what other users of a machine see."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.evidence.saw("process list", path.read_bytes().decode(errors="replace"))
            except OSError:
                continue  # it has ended meanwhile

    def look_at_containers(self) -> None:
        for container in self.containers():
            self.evidence.saw("docker inspect", json.dumps(container.attrs))

    def look_at_files(self) -> None:
        """Keep every file of the programs, logs and data directories, each named with its mode."""
        for path in sorted(self.directory.rglob("*")):
            if path.is_file():
                place = f"file {path.relative_to(self.directory)} {path.stat().st_mode & 0o777:o}"
                self.evidence.saw(place, path.read_bytes().decode(errors="replace"))
