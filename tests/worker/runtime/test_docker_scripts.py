"""The shell helpers that bring up an engine and an image."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.docker_engine import BIN, docker
from tests.e2e.programs import until

pytestmark = pytest.mark.docker


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.usefixtures("image")
def test_an_engine_that_answers_is_left_alone() -> None:
    answer = run("ensure-docker")
    assert answer.returncode == 0
    assert answer.stdout.count("\n") == 1 and "answers" in answer.stdout


@pytest.mark.usefixtures("image")
def test_an_engine_elsewhere_that_does_not_answer_is_said() -> None:
    answer = run("ensure-docker", DOCKER_HOST="tcp://127.0.0.1:1")
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "tcp://127.0.0.1:1 does not answer" in answer.stderr


@pytest.mark.usefixtures("image")
def test_the_image_is_made_once() -> None:
    name = f"podling-test:{uuid4().hex[:8]}"
    try:
        assert "made" in run("make-image", name).stdout
        first = docker("images", "-q", name)
        assert run("make-image", name).stdout == ""
        assert docker("images", "-q", name) == first
        assert docker("run", "--rm", "--network", "none", name, "echo", "hello") == "hello"
    finally:
        docker("rmi", name)


FAKE_ENGINE = """#!/bin/sh
echo "begins $*" >>"$FOLDER/told"
trap 'echo stacks >>"$FOLDER/told"' USR1
trap 'echo ends >>"$FOLDER/told"; exit' TERM
while :; do sleep 0.05; done
"""
HANGS_AT_FIRST = """#!/bin/sh
[ "$(grep -c begins "$FOLDER/told")" -gt 1 ] || exec sleep 30
echo "answers" >>"$FOLDER/told"
"""


def test_an_engine_that_hangs_is_started_anew(tmp_path: Path) -> None:
    for name, text in {"dockerd": FAKE_ENGINE, "docker": HANGS_AT_FIRST}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    told = tmp_path / "told"
    own = {
        "FOLDER": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PODLING_DOCKERD_SILENCE": "0.3",
    }
    with subprocess.Popen([BIN / "ensure-docker", "--watch"], env=os.environ | own) as watch:
        try:
            until("the second one answers", lambda: told.exists() and told.read_text().count("answers") > 2)
        finally:
            watch.terminate()
    lines = [line for line in told.read_text().splitlines() if line != "answers"]
    assert lines[:3] == ["begins --live-restore", "stacks", "begins --live-restore"]
    assert lines[-1] == "ends"


def test_an_engine_that_ends_by_itself_is_left_so(tmp_path: Path) -> None:
    (tmp_path / "dockerd").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "dockerd").chmod(0o755)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PODLING_DOCKERD_SILENCE": "10"}
    with (tmp_path / "told").open("wb") as told:  # no pipe, which what still sleeps would keep open
        command = [BIN / "ensure-docker", "--watch"]
        subprocess.run(command, env=os.environ | own, stdout=told, check=False, timeout=60)
    assert (tmp_path / "told").read_text() == ""
