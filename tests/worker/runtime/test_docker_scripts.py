"""The shell helpers that bring up an engine and an image."""

import os
import subprocess
from uuid import uuid4

import pytest

from tests.docker_engine import BIN, docker

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
