"""A program that cannot start says what to do in one sentence, and ends with exit code 1."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "hunter22"


def start(program: str, folder: Path, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {name: text for name, text in os.environ.items() if not name.startswith(("PODLING_", "STORE_"))}
    return subprocess.run(
        [sys.executable, ROOT / "cmd" / program / "main.py", *flags],
        env=own | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def memory_master(folder: Path, name: str) -> Iterator[str]:
    """Run a master on the memory store; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = ["--port", port, "--data-dir", str(folder / name)]
    own = {key: text for key, text in os.environ.items() if not key.startswith(("PODLING_", "STORE_"))}
    program = [sys.executable, str(ROOT / "cmd" / "master" / "main.py"), *flags]
    with subprocess.Popen(program, env=own, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any("listening on" in line for line in running.stderr)
        yield f"http://127.0.0.1:{port}"
        running.terminate()


def sentence_of(ended: subprocess.CompletedProcess[str], program: str) -> str:
    """Return its last words, having checked that they are all it says of the failure."""
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert PASSWORD not in ended.stderr + ended.stdout
    spoken = [line for line in ended.stderr.splitlines() if line.startswith(f"{program}: ")]
    assert len(spoken) == 1, ended.stderr
    return spoken[0].removeprefix(f"{program}: ")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres://podling:hunter22@127.0.0.1:1/podling?sslmode=disable", "correct DATABASE_URL"),
        ("postgres://podling:hunter22@127.0.0.1:1/podling?sslmode=bogus", "use disable, require"),
        ("postgres://podling:hunter22@nowhere.invalid/podling", "correct DATABASE_URL"),
        ("mysql://podling:hunter22@127.0.0.1/podling", "write postgres://"),
        ("postgres://podling:a:b@re/hunter22@127.0.0.1:1/podling", "%40 for @"),
        ("postgres://podling:hunter22@[::1/podling", "not a valid address"),
    ],
)
def test_a_wrong_database_url(url: str, words: str, tmp_path: Path) -> None:
    flags = ("--port", "0", "--data-dir", str(tmp_path / "data"))
    ended = start("master", tmp_path, *flags, STORE_TYPE="postgres", DATABASE_URL=url)
    assert words in sentence_of(ended, "podling-master")


@pytest.mark.parametrize("verb", ["verify", "install"])
def test_a_broken_password_is_not_shown_by_db_either(verb: str, tmp_path: Path) -> None:
    url = "postgres://podling:a:b@re/hunter22@127.0.0.1:1/podling"
    ended = start("podling", tmp_path, "db", verb, DATABASE_URL=url)
    assert "%40 for @" in ended.stderr
    assert ended.returncode == 2
    assert PASSWORD not in ended.stderr + ended.stdout


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ended = start("master", tmp_path, "--port", port, "--data-dir", str(tmp_path / "data"))
    assert f"port {port} on 127.0.0.1 is in use" in sentence_of(ended, "podling-master")
    assert "leads" not in ended.stderr  # it has not stood for election


@pytest.mark.parametrize("program", ["master", "worker"])
def test_a_data_directory_that_cannot_be_written(program: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = start(program, tmp_path, "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert "--data-dir" in sentence_of(ended, f"podling-{program}")


def test_a_worker_for_two_masters_that_share_nothing(tmp_path: Path) -> None:
    """Each master on the memory store is a cluster of its own."""
    with memory_master(tmp_path, "one") as one, memory_master(tmp_path, "two") as two:
        flags = ("--port", "0", "--data-dir", str(tmp_path / "worker"), "--runtime", "simulated")
        ended = start("worker", tmp_path, "--master-url", f"{one},{two}", *flags)
    told = sentence_of(ended, "podling-worker")
    assert one in told and two in told
    assert "two clusters" in told and "--store-type postgres" in told


@pytest.mark.parametrize("program", ["master", "worker"])
def test_several_faults_at_once(program: str, tmp_path: Path) -> None:
    ended = start(program, tmp_path, "--port", "many", PODLING_LOG_LEVEL="loud")
    assert sentence_of(ended, f"podling-{program}") == "2 settings have to be changed:"
    assert "PODLING_PORT" in ended.stderr
    assert "PODLING_LOG_LEVEL" in ended.stderr


@pytest.mark.parametrize("program", ["master", "worker", "podling"])
@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help(program: str, flag: str, tmp_path: Path) -> None:
    ended = start(program, tmp_path, flag)
    assert ended.returncode == 0
    assert "podling" in ended.stdout
    assert ended.stderr == ""
