"""`podling workflow`, against the real master."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from podling.cli.workflow_file import read_workflow
from podling.cli.workflow_tree import console, tree_of
from podling.core.errors import InvalidInput
from tests.cli.conftest import Cli
from tests.cli.masters import running_master

FILE = """
tasks:
  extract: {image: "busybox:local"}
  load: {image: "busybox:local", dependsOn: extract, array: {count: 3, maxParallel: 2}}
  check: {image: "busybox:local", dependsOn: "extract:always"}
  report: {image: "busybox:local", dependsOn: [load, "check:failure"]}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    monkeypatch.setenv("NO_COLOR", "1")
    return Cli(monkeypatch, url)


def write(folder: Path, text: str) -> str:
    path = folder / "nightly.yaml"
    path.write_text(text)
    return str(path)


def test_short_ways_to_write_a_graph_become_what_the_api_takes(tmp_path: Path) -> None:
    read = read_workflow(write(tmp_path, FILE))
    assert read["name"] == "nightly"
    assert [task["key"] for task in read["tasks"]] == ["extract", "load", "check", "report"]
    assert [task.get("dependsOn") for task in read["tasks"]] == [
        None,
        [{"key": "extract"}],
        [{"key": "extract", "when": "always"}],
        [{"key": "load"}, {"key": "check", "when": "failure"}],
    ]
    whole = {"name": "n", "tasks": [{"key": "a", "dependsOn": [{"key": "b", "when": "always"}]}]}
    assert read_workflow(write(tmp_path, json.dumps(whole))) == whole


def test_a_time_in_a_file_needs_no_quotes(tmp_path: Path) -> None:
    read = read_workflow(write(tmp_path, "tasks: {a: {image: x, runAt: 2030-01-02T03:04:05Z}}"))
    assert read["tasks"][0]["runAt"] == "2030-01-02T03:04:05Z"


def test_a_word_in_a_file_is_a_word(tmp_path: Path) -> None:
    read = read_workflow(write(tmp_path, "tasks: {a: {args: [no, yes, on, Off, true], init: true}}"))
    assert read["tasks"] == [{"key": "a", "args": ["no", "yes", "on", "Off", True], "init": True}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must hold a name, and tasks"),
        ("tasks: {a: 1}", "the task a must be"),
        ("tasks: {a: {image: x}, b: {image: x}, a: {image: y}}", "a stands there twice"),
        ("tasks: {a: {image: !!binary aGVsbG8=}}", "could not determine a constructor"),
        ("tasks: {a: {[1, 2]: x}}", "unhashable key"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read_workflow(write(tmp_path, text))
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_workflow(str(tmp_path / "nowhere.yaml"))


def test_a_graph_is_submitted_shown_as_a_tree_and_cancelled(cli: Cli, tmp_path: Path) -> None:
    made = cli("workflow", "run", write(tmp_path, FILE))
    assert made.code == 0, made.err
    workflow = made.out.strip()
    assert cli("workflow", "show", workflow).out.splitlines() == [
        "nightly pending, 0 of 6 tasks have ended",
        "└── ○ extract pending",
        "    ├── ○ load [3] 3 pending",
        "    │   └── ○ report pending  (after load, check)",
        "    └── ○ check pending",
    ]
    assert f"{workflow}  nightly  pending  6 pending" in cli("workflow", "ls").out
    assert json.loads(cli("workflow", "show", workflow, "--json").out)["counts"] == {"pending": 6}
    assert cli("workflow", "cancel", workflow).out == f"workflow {workflow} is cancelled\n"
    watched = cli("workflow", "show", workflow, "--watch")
    assert watched.code == 1
    assert watched.out.splitlines()[0] == "extract cancelled"
    assert "load[2] cancelled" in watched.out
    assert watched.out.splitlines()[-1] == f"workflow {workflow} cancelled"


def test_a_cycle_is_refused_and_shown(cli: Cli, tmp_path: Path) -> None:
    text = "tasks: {a: {image: 'b:1', dependsOn: c}, c: {image: 'b:1', dependsOn: a}}"
    refused = cli("workflow", "run", write(tmp_path, text))
    assert refused.code != 0
    assert "a → c → a" in refused.err or "c → a → c" in refused.err
    assert cli("workflow", "show", "nobody").code == 3
    assert cli("workflow", "run", str(tmp_path / "nowhere.yaml")).code == 2


def test_the_same_key_makes_no_second_workflow(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    first = cli("workflow", "run", path, "--idempotency-key", "night-1").out
    assert cli("workflow", "run", path, "--idempotency-key", "night-1").out == first


def test_a_tree_tells_a_long_reason_whole_below_its_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word{number}" for number in range(60)]
    task = {
        "key": "a",
        "arrayIndex": None,
        "taskId": "t",
        "dependsOn": [],
        "status": "cancelled",
        "error": " ".join(words),
    }
    workflow = {"name": "n", "status": "cancelled", "counts": {"cancelled": 1}, "tasks": [task]}
    monkeypatch.setattr("sys.stdout", Terminal())
    drawing = console()
    drawing.width = 60
    with drawing.capture() as drawn:
        drawing.print(tree_of(workflow))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", drawn.get()).splitlines()[1:]
    assert [word for line in lines for word in line.split() if word.startswith("word")] == words
    assert len(lines) > 5 and all(len(line) <= 60 for line in lines)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_tree_tells_times_and_errors_and_hides_no_escape_codes() -> None:
    task = {
        "key": "a",
        "arrayIndex": None,
        "taskId": "t",
        "dependsOn": [],
        "status": "failed",
        "startedAt": "2026-03-01T12:00:00.000000Z",
        "finishedAt": "2026-03-01T12:00:02.000000Z",
        "error": "it broke \x1b[31m",
    }
    workflow = {"name": "n", "status": "failed", "counts": {"failed": 1}, "tasks": [task]}
    drawing = console()
    with drawing.capture() as drawn:
        drawing.print(tree_of(workflow))
    assert drawn.get().splitlines()[0] == "n failed, 1 of 1 tasks have ended"
    assert "✘ a failed 2" in drawn.get()
    assert "\x1b[31m" not in drawn.get()


def test_a_tree_calls_other_tasks_by_their_keys_and_is_not_cut_in_a_pipe() -> None:
    parent, child = str(UUID(int=1)), str(UUID(int=2))
    plain = {"arrayIndex": None, "startedAt": None, "finishedAt": None}
    error = f"it starts only when task {parent} has failed, and that has completed"
    tasks = [
        plain | {"key": "square", "arrayIndex": 0, "taskId": parent, "dependsOn": [], "status": "completed"},
        plain
        | {"key": "clean-up", "taskId": child, "dependsOn": [{"key": "square"}], "status": "cancelled"}
        | {"error": error},
    ]
    drawing = console()
    with drawing.capture() as drawn:
        drawing.print(tree_of({"name": "n", "status": "completed", "counts": {}, "tasks": tasks}))
    told = "it starts only when task square[0] has failed, and that has completed"
    assert drawn.get().splitlines()[-1].endswith(f"clean-up cancelled: {told}")
