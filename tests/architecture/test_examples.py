"""The examples are accepted by the same door as any submit."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from podling.cli.workflow_file import read_workflow
from podling.core.permissions import Policy
from podling.core.policy import validate_spec
from podling.core.spec import Runtime
from podling.core.workflow import check_workflow
from podling.wire.policy import read_policy
from podling.wire.tasks import load_object, parse_task
from podling.wire.workflows import parse_workflow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.json")))
def test_an_example_is_a_task_that_is_accepted(name: str) -> None:
    spec = validate_spec(parse_task(load_object((EXAMPLES / name).read_bytes())))
    assert spec.name
    assert spec.main.image == ("podling-busybox:local" if spec.runtime is Runtime.DOCKER else None)


def test_the_example_of_a_workflow_is_a_graph_that_is_taken() -> None:
    plain = read_workflow(str(EXAMPLES / "workflow.yaml"))
    submission = parse_workflow(load_object(json.dumps(plain).encode()))
    check_workflow(submission.name, submission.steps)
    assert [step.key for step in submission.steps] == ["prepare", "square", "report", "clean-up"]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("policy*.yaml")))
def test_an_example_of_a_policy_is_valid(name: str) -> None:
    assert read_policy((EXAMPLES / name).read_text()) != Policy()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_program_compiles(name: str) -> None:
    compile((EXAMPLES / name).read_text(), name, "exec")


def test_the_program_goes_where_the_variable_says_and_tells_that_nobody_is_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever calls is refused
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, EXAMPLES / "submit_and_wait.py"],
            env=os.environ | {"PODLING_MASTER_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"submit_and_wait: no master answers at {url}")
    assert "Traceback" not in ended.stderr
