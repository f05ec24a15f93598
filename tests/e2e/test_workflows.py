"""A workflow with real programs and containers, through the command as people type it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import IMAGE, Programs, programs
from tests.e2e.test_tasks import EXAMPLES, podling

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-tasks")]


@pytest.fixture(scope="module", params=["memory", "postgres"])
def running(request: pytest.FixtureRequest, engine: None) -> Iterator[Programs]:
    with programs(request.param) as started:
        started.start_master()
        started.start_worker("worker-1")
        started.wait_for_workers(1)
        yield started


def test_the_example_runs_as_a_graph(running: Programs) -> None:
    done = podling(running, "workflow", "run", str(EXAMPLES / "workflow.yaml"), "--watch")
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert "prepare completed" in lines
    assert "clean-up cancelled" in lines
    assert lines.index("square[2] completed") < lines.index("report completed")
    assert lines[-1].endswith(" completed")
    workflow = json.loads(podling(running, "workflow", "show", lines[-1].split()[1], "--json").stdout)
    squares = [task for task in workflow["tasks"] if task["key"] == "square"]
    assert [podling(running, "logs", task["taskId"]).stdout for task in squares] == ["0\n", "1\n", "4\n"]
    shown = podling(running, "workflow", "show", workflow["workflowId"]).stdout
    assert "✔ square [3] 3 completed" in shown


def test_a_failure_runs_its_handler_alone(running: Programs, tmp_path: Path) -> None:
    tasks = {
        "build": {"image": IMAGE, "command": ["false"]},
        "ship": {"image": IMAGE, "args": ["true"], "dependsOn": "build"},
        "clean": {"image": IMAGE, "args": ["true"], "dependsOn": "build:failure"},
    }
    path = tmp_path / "build.yaml"
    path.write_text(json.dumps({"tasks": tasks}))
    done = podling(running, "workflow", "run", str(path), "--watch")
    assert done.returncode == 1, done
    lines = set(done.stdout.splitlines())
    assert {"build failed", "ship cancelled", "clean completed"} <= lines
