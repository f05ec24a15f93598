"""A fake master, and the command as tests call it."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podling.boot.cli import main
from tests.cli.fake_master import FakeMaster

PROGRAM = Path(__file__).parents[2] / "cmd/podling/main.py"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Cli:
    """Runs the command in this process (`cli("ps")`) or as a program of its own (`start`)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self._monkeypatch = monkeypatch
        self.url = url

    def __call__(self, *arguments: str) -> Result:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setenv("PODLING_MASTER_URL", self.url)
            code = main(arguments)
        out.flush()
        err.flush()
        written = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
        return Result(code, *written)

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE, **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PODLING_MASTER_URL": self.url} | environment,
        )


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    with FakeMaster().running() as fake:
        yield fake


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, master: FakeMaster) -> Cli:
    for name in [name for name in os.environ if name.startswith(("PODLING_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    return Cli(monkeypatch, master.url)
