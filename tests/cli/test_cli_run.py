"""`podling run`: what is submitted, and what is wrong usage."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster


def submitted(master: FakeMaster) -> Any:
    [request] = [request for request in master.requests if request["method"] == "POST"]
    return request["body"]


@pytest.mark.parametrize(
    "words",
    [
        ("hello", "-i", "box", "--", "sh", "-c", "exit 3"),
        ("hello", "-i", "box", "sh", "-c", "exit 3"),
        ("hello", "box", "sh", "-c", "exit 3"),
        ("hello", "box", "--", "sh", "-c", "exit 3"),
        ("-i", "box", "hello", "sh", "-c", "exit 3"),
        ("--image=box", "hello", "--", "sh", "-c", "exit 3"),
    ],
)
def test_image_and_command_may_be_told_in_several_ways(
    cli: Cli, master: FakeMaster, words: tuple[str, ...]
) -> None:
    shown = cli("run", *words)
    assert shown.out.strip() in master.tasks
    assert submitted(master) == {"name": "hello", "image": "box", "args": ["sh", "-c", "exit 3"]}


@pytest.mark.parametrize("words", [("--", "box", "echo", "hi"), ("-i", "box", "--", "echo", "hi")])
def test_a_command_is_no_name(cli: Cli, master: FakeMaster, words: tuple[str, ...]) -> None:
    shown = cli("run", *words)
    assert (shown.code, master.requests) == (2, [])
    assert "podling run NAME -i IMAGE -- COMMAND" in shown.err


def test_flags_between_image_and_command_are_ours(cli: Cli, master: FakeMaster) -> None:
    cli("run", "hello", "box", "--queue", "gpu", "--json", "ls", "-l", "--queue", "mine")
    assert submitted(master) == {
        "name": "hello",
        "image": "box",
        "queue": "gpu",
        "args": ["ls", "-l", "--queue", "mine"],
    }


def test_every_flag_reaches_its_field(cli: Cli, master: FakeMaster) -> None:
    line = (
        "run full -i box -e A=1 -e B=x=y -p 8080:80 -p 53:53/udp --cpu 500m --memory 256Mi "
        "--resource licence=1 --label team=a --queue q --priority -5 --max-attempts 3 "
        "--timeout 1m30s --volume data:/data "
        "--volume /etc:/host:ro --tmpfs /tmp:size=1m --workdir /w --user 1000:1000 --entrypoint /bin/x "
        "--network none --runtime docker --node-selector zone=a --constraint disk=ssd,nvme "
        "--constraint arch!=arm --constraint gpu --constraint !old --pull missing --restart on-failure "
        "--gpus 2 --init --stop-signal SIGINT --platform linux/arm64 --read-only --privileged "
        "--cap-add net_admin --cap-drop ALL --security-opt no-new-privileges --device /dev/fuse "
        "--device /dev/dri/card0:/dev/card:rw "
        "--ulimit nofile=1024 --ulimit core=0:-1 --shm-size 64Mi --hostname web --add-host db:10.0.0.5 "
        "--add-host six:[::1] --dns 10.0.0.1 --dns-search example.org --dns-option ndots:2 "
        "--log-max-size 1Mi --log-max-files 3 -- arg"
    )
    assert cli(*line.split()).code == 0
    assert submitted(master) == {
        "name": "full",
        "runtime": "docker",
        "image": "box",
        "command": ["/bin/x"],
        "args": ["arg"],
        "env": {"A": "1", "B": "x=y"},
        "ports": [
            {"containerPort": 80, "hostPort": 8080},
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
        ],
        "resources": {
            "requests": {"cpu": "500m", "memory": "256Mi", "gpu": 2, "licence": "1"},
            "limits": {"cpu": "500m", "memory": "256Mi", "gpu": 2},
        },
        "labels": {"team": "a"},
        "queue": "q",
        "priority": -5,
        "maxAttempts": 3,
        "timeoutSeconds": 90.0,
        "mounts": [
            {"type": "volume", "source": "data", "target": "/data", "readOnly": False},
            {"type": "bind", "source": "/etc", "target": "/host", "readOnly": True},
        ],
        "tmpfs": {"/tmp": "size=1m"},
        "workingDir": "/w",
        "user": "1000:1000",
        "network": "none",
        "placement": {
            "nodeSelector": {"zone": "a"},
            "constraints": [
                {"label": "disk", "operator": "in", "values": ["ssd", "nvme"]},
                {"label": "arch", "operator": "notIn", "values": ["arm"]},
                {"label": "gpu", "operator": "exists", "values": []},
                {"label": "old", "operator": "doesNotExist", "values": []},
            ],
        },
        "pullPolicy": "IfNotPresent",
        "restartPolicy": "OnFailure",
        "init": True,
        "stopSignal": "SIGINT",
        "platform": "linux/arm64",
        "readOnlyRoot": True,
        "privileged": True,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "securityOptions": ["no-new-privileges"],
        "devices": [
            {"hostPath": "/dev/fuse"},
            {"hostPath": "/dev/dri/card0", "containerPath": "/dev/card", "permissions": "rw"},
        ],
        "ulimits": {"nofile": {"soft": 1024, "hard": 1024}, "core": {"soft": 0, "hard": -1}},
        "shmSize": "64Mi",
        "hostname": "web",
        "extraHosts": {"db": "10.0.0.5", "six": "::1"},
        "dns": ["10.0.0.1"],
        "dnsSearch": ["example.org"],
        "dnsOptions": ["ndots:2"],
        "logging": {"maxSize": "1Mi", "maxFiles": 3},
    }


def test_flags_of_time_retry_and_placement_reach_their_fields(cli: Cli, master: FakeMaster) -> None:
    line = (
        "run full box --queue-timeout 10m --deadline 1h --retry-base 500ms --retry-on exit:75,TIMEOUT "
        "--retry-not-on exit:2 --stop-grace 30 --strategy binpack --spread zone --affinity zone=a,b:80 "
        "--affinity disk!=slow:-5 --affinity gpu --delivery at-most-once --on-lost hold "
        "--on-disconnect keep --max-losses 2 --run-at 2030-01-02T03:04:05+01:00"
    )
    assert cli(*line.split()).code == 0
    assert submitted(master) == {
        "name": "full",
        "image": "box",
        "queueTimeoutSeconds": 600.0,
        "deadlineSeconds": 3600.0,
        "retry": {"baseSeconds": 0.5, "on": ["exit:75", "TIMEOUT"], "notOn": ["exit:2"]},
        "stopGraceSeconds": 30.0,
        "placement": {
            "affinity": [
                {"label": "zone", "operator": "in", "values": ["a", "b"], "weight": 80},
                {"label": "disk", "operator": "notIn", "values": ["slow"], "weight": -5},
                {"label": "gpu", "operator": "exists", "values": []},
            ],
            "spread": "zone",
            "strategy": "binpack",
        },
        "delivery": "at_most_once",
        "onLost": "hold",
        "onDisconnect": "keep",
        "maxLosses": 2,
        "runAt": "2030-01-02T02:04:05.000000Z",
    }


def test_a_start_may_be_told_from_now_on(cli: Cli, master: FakeMaster) -> None:
    before = datetime.now(UTC)
    cli("run", "later", "box", "--run-at", "10m")
    delay = datetime.fromisoformat(submitted(master)["runAt"]) - before
    assert timedelta(minutes=10) <= delay < timedelta(minutes=11)


def spec_file(folder: Path, text: str) -> str:
    path = folder / "spec.json"
    path.write_text(text)
    return str(path)


def test_flags_override_the_file_of_a_specification(cli: Cli, master: FakeMaster, tmp_path: Path) -> None:
    file = spec_file(
        tmp_path,
        json.dumps(
            {
                "name": "told",
                "image": "box",
                "args": ["old"],
                "env": {"A": "1", "B": "2"},
                "retry": {"factor": 3, "baseSeconds": 1},
                "labels": None,
                "maxLosses": 9,
            }
        ),
    )
    line = ("run", "--spec", file, "mine", "-e", "B=3", "--retry-base", "5", "--label", "t=a")
    assert cli(*line, "echo", "-n", "new").code == 0
    assert submitted(master) == {
        "name": "mine",
        "image": "box",
        "args": ["echo", "-n", "new"],
        "env": {"A": "1", "B": "3"},
        "retry": {"factor": 3, "baseSeconds": 5.0},
        "labels": {"t": "a"},
        "maxLosses": 9,
    }


def test_a_specification_may_say_everything(cli: Cli, master: FakeMaster, tmp_path: Path) -> None:
    spec = {"name": "job", "runtime": "process", "command": ["/bin/true"], "idempotencyKey": "k"}
    file = spec_file(tmp_path, json.dumps(spec))
    first, second = (cli("run", "--spec", file) for _ in range(2))
    assert (first.code, second.out) == (0, first.out)
    assert master.requests[0]["body"] == spec
    assert master.requests[0]["headers"]["Idempotency-Key"] == "k"
    cli("run", "--spec", file, "--idempotency-key", "mine", "other", "/bin/false")
    assert master.requests[-1]["body"] == spec | {
        "name": "other",
        "command": ["/bin/false"],
        "idempotencyKey": "mine",
    }


def test_a_specification_may_come_by_standard_input(
    cli: Cli, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "piped", "image": "box"}'))
    assert cli("run", "--spec", "-").code == 0
    assert submitted(master) == {"name": "piped", "image": "box"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds no JSON object"),
        ("\x00", "is not JSON"),
        ('{"image": "box"}', "say what to call the task"),
        ('{"name": "a"}', "say which image to run"),
    ],
)
def test_a_wrong_specification_is_told(
    cli: Cli, master: FakeMaster, tmp_path: Path, text: str, told: str
) -> None:
    shown = cli("run", "--spec", spec_file(tmp_path, text))
    assert shown.code == 2
    assert told in shown.err
    assert master.requests == []


def test_a_specification_that_is_not_there_is_told(cli: Cli, master: FakeMaster, tmp_path: Path) -> None:
    shown = cli("run", "--spec", str(tmp_path / "nothing"))
    assert shown.code == 2
    assert "cannot be read: No such file or directory" in shown.err


def test_a_process_needs_no_image(cli: Cli, master: FakeMaster) -> None:
    cli("run", "job", "--runtime", "process", "--", "/bin/echo", "hi")
    assert submitted(master) == {"name": "job", "runtime": "process", "command": ["/bin/echo", "hi"]}


def test_a_function_is_named_by_its_handler_and_given_a_payload(cli: Cli, master: FakeMaster) -> None:
    for payload in ('{"to": 1}', "{}", "[null]", "0"):
        assert cli("run", "--handler", "email.send", "--payload", payload).code == 0
        assert master.requests[-1]["body"] == {
            "name": "email.send",
            "runtime": "python",
            "handler": "email.send",
            "payload": json.loads(payload),
        }
    assert cli("run", "welcome", "--runtime", "python", "--handler", "email.send").code == 0
    assert master.requests[-1]["body"] == {"name": "welcome", "runtime": "python", "handler": "email.send"}


def test_the_payload_of_a_specification_is_replaced_whole(
    cli: Cli, master: FakeMaster, tmp_path: Path
) -> None:
    spec = {"runtime": "python", "handler": "email.send", "payload": {"a": 1}}
    assert cli("run", "--spec", spec_file(tmp_path, json.dumps(spec)), "--payload", '{"b": 2}').code == 0
    assert submitted(master) == spec | {"name": "email.send", "payload": {"b": 2}}


def test_a_statement_has_parameters_that_are_json_or_else_text(cli: Cli, master: FakeMaster) -> None:
    words = ("--statement", "SELECT $1, $2, $3", "--database", "shop")
    given = ("--parameter", "5", "--parameter", "2026-11-27", "--parameter", '["a", null]')
    assert cli("run", "count", *words, *given).code == 0
    assert submitted(master) == {
        "name": "count",
        "runtime": "sql",
        "statement": "SELECT $1, $2, $3",
        "database": "shop",
        "parameters": [5, "2026-11-27", ["a", None]],
    }


def test_what_a_process_reserves_is_no_limit(cli: Cli, master: FakeMaster) -> None:
    cli("run", "job", "--runtime", "process", "--cpu", "1", "--memory", "1Gi", "--", "/bin/true")
    assert submitted(master)["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "which image"),
        (("--", "echo", "hi"), "podling run NAME -i IMAGE -- COMMAND"),
        (("box", "-e", "A"), "-e: 'A'"),
        (("--handler", "x", "--payload", "{"), "--payload: '{' is not JSON"),
        (("--handler", "x", "--", "ls"), "a function takes no command such as ls"),
        (("--statement", "SELECT 1", "--", "ls"), "a statement takes no command such as ls"),
        (("box", "-p", "0:80"), "-p: '0:80'"),
        (("box", "-p", "80"), "-p: '80'"),
        (("box", "-p", "http"), "-p: 'http'"),
        (("box", "--volume", "data"), "--volume: 'data'"),
        (("box", "--restart", "sometimes"), "--restart: 'sometimes'"),
        (("box", "--constraint", "zone="), "--constraint: 'zone='"),
        (("box", "--timeout", "soon"), "--timeout: 'soon'"),
        (("box", "--deadline", "soon"), "--deadline: 'soon'"),
        (("box", "--queue-timeout", ""), "--queue-timeout: ''"),
        (("box", "--run-at", "tomorrow"), "--run-at: 'tomorrow'"),
        (("box", "--run-at", "9999999999d"), "--run-at: 9999999999d is farther away"),
        (("box", "--retry-on", "a,,b"), "--retry-on: 'a,,b'"),
        (("box", "--strategy", "pack"), "--strategy: 'pack'"),
        (("box", "--affinity", "zone=a:much"), "--affinity: 'zone=a:much'"),
        (("box", "--affinity", "=a:5"), "--affinity: '=a'"),
        (("box", "--delivery", "once"), "--delivery: 'once'"),
        (("box", "--on-lost", "weep"), "--on-lost: 'weep'"),
        (("box", "--on-disconnect", "go"), "--on-disconnect: 'go'"),
        (("box", "--max-losses", "few"), "'few' is not a whole number"),
        (("box", "--priority", "high"), "'high' is not a whole number"),
        (("box", "--no-such-flag"), "--no-such-flag"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_flag(
    cli: Cli, master: FakeMaster, flags: tuple[str, ...], told: str
) -> None:
    shown = cli("run", "hello", *flags)
    assert shown.code == 2
    assert told in shown.err
    assert master.requests == []


def test_a_task_that_has_to_wait_says_why(cli: Cli, master: FakeMaster) -> None:
    master.on_submit = lambda task: task.update(schedulingError="no node is online")
    shown = cli("run", "hello", "box")
    assert shown.code == 0
    assert shown.err == "it waits: no node is online\n"


def test_a_lost_reply_makes_no_second_task(cli: Cli, master: FakeMaster) -> None:
    master.faults = ["drop", (503, {"error": "busy", "code": "unavailable"}, {"Retry-After": "0"})]
    shown = cli("run", "hello", "box")
    assert shown.code == 0
    assert [shown.out.strip()] == list(master.tasks)
    keys = {request["headers"]["Idempotency-Key"] for request in master.requests}
    assert len(master.requests) == 3
    assert len(keys) == 1


def test_the_same_key_is_the_same_task(cli: Cli, master: FakeMaster) -> None:
    first, second = (cli("run", "hello", "box", "--idempotency-key", "k").out for _ in range(2))
    assert first == second
