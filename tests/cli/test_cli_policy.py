"""`podling policy` and `podling decisions`, and an import that a policy denies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.masters import running_master

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICY = str(EXAMPLES / "policy.yaml")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_master("memory", "--policy", POLICY) as address:
        yield address


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, url: str) -> Cli:
    return Cli(monkeypatch, url)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_example_is_valid_and_told_rule_by_rule(cli: Cli) -> None:
    checked = cli("policy", "check", POLICY)
    assert (checked.code, checked.err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in checked.out.splitlines())
    assert rows["images.allow"] == "podling-*, registry.example:5000/team/**"
    assert rows["images.deny"] == "not registry.example:5000/**:latest"
    assert rows["users.root"] == "no"
    assert rows["hostPaths"] == "/srv/data (read only), /srv/data/scratch"
    assert rows["privileged"] == "no"
    assert rows["devices.allow"] == "/dev/dri/*"
    assert rows["limits.admin"] == "any amount"


def test_faults_are_told_line_by_line(cli: Cli, tmp_path: Path) -> None:
    broken = written(tmp_path / "p.yaml", "images:\n  alow: [a]\nhostPorts:\n  allow: [0]\nusers: 3\n")
    checked = cli("policy", "check", broken)
    assert checked.code == 1
    assert checked.out.splitlines() == [
        f"{broken}: line 2: images.alow: there is no such rule; known are allow, deny",
        f"{broken}: line 5: users: must be a mapping",
    ]
    told = json.loads(cli("policy", "check", broken, "--json").out)
    assert told["valid"] is False
    assert told["faults"][1] == {"line": 5, "path": "users", "problem": "must be a mapping"}
    missing = cli("policy", "check", str(tmp_path / "missing"))
    assert (missing.code, "cannot be read" in missing.err) == (2, True)


@pytest.mark.parametrize(
    ("fields", "role", "said"),
    [
        ({}, "admin", "accepted"),
        ({"user": "root"}, "admin", "denied by the rule users.root: user: root is not allowed here"),
        ({"image": "busybox"}, "admin", "denied by the rule images.allow: image: busybox is not"),
        ({}, "submitter", "denied by the rule limits.default.cpu: resources.limits.cpu: has to be given"),
        ({"priority": 101}, "operator", "denied by the rule limits.operator.priority: priority: 101 is more"),
        ({"image": ""}, "admin", "not valid: image: must not be empty"),
        ({"hostPid": True}, "admin", "not valid: hostPid: no such field"),
        ({"privileged": True}, "admin", "denied by the rule privileged: privileged: a privileged container"),
    ],
)
def test_a_task_is_tried_without_a_master(
    cli: Cli, tmp_path: Path, fields: dict[str, Any], role: str, said: str
) -> None:
    spec = {"name": "x", "image": "podling-busybox:local", "user": "1000"} | fields
    file = written(tmp_path / "task.json", json.dumps(spec))
    cli.url = "http://127.0.0.1:1"
    tried = cli("policy", "check", POLICY, "--task", file, "--role", role)
    assert tried.out.startswith(said)
    assert tried.code == (0 if said == "accepted" else 1)
    plain = json.loads(cli("policy", "check", POLICY, "--task", file, "--role", role, "--json").out)
    assert plain["task"]["accepted"] is (said == "accepted")


def test_the_policy_in_force_is_shown(cli: Cli) -> None:
    shown = cli("policy", "show")
    assert shown.out.startswith("In force since ") and POLICY in shown.out
    assert ["runtimes.allow", "docker"] in [line.split() for line in shown.out.splitlines()]
    assert json.loads(cli("policy", "show", "--json").out)["policy"]["limits"]["default"]["cpu"] == "4000m"


def test_a_refusal_names_its_rule_and_is_listed(cli: Cli) -> None:
    for _ in range(2):
        refused = cli("run", "bad", "-i", "busybox:local")
        assert "image: busybox:local is not an image that the operator allows" in refused.err
        assert refused.code == 1
    listed = cli("decisions")
    (row,) = [line for line in listed.out.splitlines() if "busybox:local is not" in line]
    assert row.split()[1:5] == ["2", "local", "submit", "-"]
    assert "images.allow" in row
    (plain,) = [one for one in json.loads(cli("decisions", "--json").out) if one["door"] == "submit"]
    assert (plain["count"], plain["details"]["rule"]) == (2, "images.allow")
    assert cli("decisions", "--code", "nothing").err == "nothing was refused\n"


def test_an_import_is_refused_by_the_same_rule(cli: Cli, tmp_path: Path) -> None:
    task = {"taskId": "01-a", "status": "pending", "name": "x", "image": "busybox:1"}
    imported = cli("import", written(tmp_path / "export", json.dumps(task) + "\n"))
    assert imported.code == 1
    assert "refused: 01-a: image: busybox:1 is not an image that the operator allows" in imported.out
    (kept,) = [one for one in json.loads(cli("decisions", "--json").out) if "busybox:1 " in one["message"]]
    assert (kept["door"], kept["details"]["rule"]) == ("batch", "images.allow")
