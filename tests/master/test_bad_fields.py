"""Every field of a submit and of a registration refuses what cannot be meant, by its name."""

import asyncio
from typing import Any

import pytest

from tests.master.masters import RunningMaster, task_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "x" * 300
TEN_KB = "x" * 10_000
NUL, BELL, BIDI = "a\0b", "a\x07b", "a\u202eb"

Row = tuple[str, Any, str]  # field of the body, what it holds, field that is named (with its status)


def _names(field: str) -> list[Row]:
    return [(field, bad, field) for bad in ("", " ", NUL, BELL, BIDI, "a\nb", 5, True, [], {})]


SUBMIT: list[Row] = [
    *_names("name"),
    ("name", None, "name"),
    ("name", LONG, "name"),
    ("name", "a\u2066b", "name"),
    ("name", "a\u200bb", "name"),
    ("name", "\ufeffa", "name"),
    *[
        ("image", image, "image")
        for image in (
            *(
                "",
                " ",
                "busy box",
                "-v",
                "../x",
                "/abs",
                "UPPER/case",
                "Upper",
                "a//b",
                "a:",
                "a:b:c",
                "a@sha256:12",
            ),
            *(
                "a@md5:d41d8cd98f00b204e9800998ecf8427e",
                "a@sha256:" + "g" * 64,
                ":tag",
                "host:port/a",
                "x" * 700,
            ),
            *(NUL, BIDI, 5, True, ["a"], None),
        )
    ],
    ("runtime", "podman", "runtime"),
    ("runtime", "simulated", "runtime"),
    ("runtime", "", "runtime"),
    ("runtime", "python", "runtime"),
    ("command", "sh -c true", "command"),
    ("command", [""], "command"),
    ("command", [5], "command.0"),
    ("command", ["a", NUL], "command.1"),
    ("command", ["x" * 200_000], "command"),
    ("command", ["x"] * 5000, "command"),
    ("args", {"a": "b"}, "args"),
    ("args", [None], "args.0"),
    ("args", [NUL], "args.0"),
    ("env", [], "env"),
    ("env", {"A": 1}, "env.A"),
    ("env", {"A": None}, "env.A"),
    ("env", {"A": NUL}, "env.A"),
    ("env", {"A=B": "x"}, "env"),
    ("env", {"": "x"}, "env"),
    ("env", {"PODLING_TASK_ID": "x"}, "env.PODLING_TASK_ID"),
    ("env", {"PODLING_ANYTHING": "x"}, "env.PODLING_ANYTHING"),
    ("env", {NUL: "x"}, "env.a\\u0000b"),
    ("env", {"A": "x" * 200_000}, "env.A"),
    ("env", {f"A{n}": "" for n in range(1001)}, "env"),
    ("workingDir", "relative", "workingDir"),
    ("workingDir", "/a/../b", "workingDir"),
    ("workingDir", "", "workingDir"),
    ("workingDir", 5, "workingDir"),
    ("user", "root;id", "user"),
    ("user", "-u", "user"),
    ("user", "99999999999", "user"),
    ("user", "a:b:c", "user"),
    ("ports", {}, "ports"),
    ("ports", [{}], "ports.0.containerPort"),
    ("ports", [{"containerPort": 0}], "ports.0.containerPort"),
    ("ports", [{"containerPort": 70_000}], "ports.0.containerPort"),
    ("ports", [{"containerPort": -1}], "ports.0.containerPort"),
    ("ports", [{"containerPort": "80"}], "ports.0.containerPort"),
    ("ports", [{"containerPort": True}], "ports.0.containerPort"),
    ("ports", [{"containerPort": 80.5}], "ports.0.containerPort"),
    ("ports", [{"containerPort": 80, "hostPort": 70_000}], "ports.0.hostPort"),
    ("ports", [{"containerPort": 80, "hostPort": -1}], "ports.0.hostPort"),
    ("ports", [{"containerPort": 80, "hostPort": 0}], "ports.0.hostPort"),
    ("ports", [{"containerPort": n, "name": "web"} for n in (1, 2)], "ports.1.name"),
    ("ports", [{"containerPort": 80, "protocol": "SCTP"}], "ports.0.protocol"),
    ("ports", [{"containerPort": 80, "name": "a b"}], "ports.0.name"),
    ("ports", [{"containerPort": 80}, {"containerPort": 80}], "ports.1.containerPort"),
    ("ports", [{"containerPort": n, "hostPort": 80} for n in (1, 2)], "ports.1.hostPort"),
    ("ports", [{"containerPort": 80, "surprise": 1}], "ports.0.surprise"),
    ("resources", [], "resources"),
    ("resources", {"requests": []}, "resources.requests"),
    ("resources", {"surprise": {}}, "resources.surprise"),
    *[
        ("resources", {"requests": {"cpu": cpu}}, "resources.requests.cpu")
        for cpu in (0, -1, 1e9, 1.5, "0", "-1", "1Xi", "", "lots", True, [], "0.0001", 2**63)
    ],
    *[
        ("resources", {"requests": {"memory": memory}}, "resources.requests.memory")
        for memory in (0, 1, -1, 2**63, "1Xi", "1 Gi", "1gi", "", "-1Mi", "5Mi", "9999999Ti", True)
    ],
    ("resources", {"limits": {"memory": "1Xi"}}, "resources.limits.memory"),
    ("resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "resources.limits.cpu"),
    ("resources", {"requests": {"slots": 1}}, "resources.requests.slots"),
    ("resources", {"requests": {"gpu": -1}}, "resources.requests.gpu"),
    ("resources", {"requests": {"gpu": "some"}}, "resources.requests.gpu"),
    ("resources", {"requests": {"no name": 1}}, "resources.requests"),
    ("labels", [], "labels"),
    ("labels", {"a": 1}, "labels.a"),
    ("labels", {"a": BIDI}, "labels.a"),
    ("labels", {"podling.io/zone": "a"}, "labels"),
    ("labels", {"a": LONG}, "labels.a"),
    ("labels", {"": "x"}, "labels"),
    ("labels", {"a b": "x"}, "labels"),
    ("labels", {LONG: "x"}, "labels"),
    ("labels", {"podling.io/task": "x"}, "labels"),
    ("labels", {"podling.": "x"}, "labels"),
    ("labels", {"podling": "x"}, "labels"),
    ("labels", {"podling/x": "x"}, "labels"),
    ("labels", {f"l{n}": "" for n in range(101)}, "labels"),
    ("mounts", {}, "mounts"),
    ("mounts", [{"type": "volume", "source": "data"}], "mounts.0.target"),
    ("mounts", [{"type": "disk", "source": "data", "target": "/a"}], "mounts.0.type"),
    ("mounts", [{"type": "volume", "target": "/a"}], "mounts.0.source"),
    ("mounts", [{"type": "volume", "source": "../x", "target": "/a"}], "mounts.0.source"),
    ("mounts", [{"type": "volume", "source": "data", "target": "a"}], "mounts.0.target"),
    ("mounts", [{"type": "volume", "source": "data", "target": "/"}], "mounts.0.target"),
    ("mounts", [{"type": "volume", "source": "data", "target": "/a/../b"}], "mounts.0.target"),
    ("mounts", [{"type": "tmpfs", "source": "x", "target": "/a"}], "mounts.0.source"),
    ("mounts", [{"type": "volume", "source": "data", "target": "/a"}] * 2, "mounts.1.target"),
    ("mounts", [{"type": "bind", "source": "relative", "target": "/a"}], "mounts.0.source"),
    ("tmpfs", {"scratch": ""}, "tmpfs"),
    ("tmpfs", {"/scratch": "exec,evil=1"}, "tmpfs./scratch"),
    ("tmpfs", {"/scratch": 5}, "tmpfs./scratch"),
    ("network", "", "network"),
    ("network", "a b", "network"),
    ("network", LONG, "network"),
    ("pullPolicy", "always", "pullPolicy"),
    ("pullPolicy", "Sometimes", "pullPolicy"),
    ("restartPolicy", "always", "restartPolicy"),
    ("restartPolicy", 1, "restartPolicy"),
    ("stopSignal", "SIGNOPE", "stopSignal"),
    ("stopSignal", "99", "stopSignal"),
    ("stopSignal", "", "stopSignal"),
    ("stopGraceSeconds", -1, "stopGraceSeconds"),
    ("stopGraceSeconds", 1e18, "stopGraceSeconds"),
    ("stopGraceSeconds", "10", "stopGraceSeconds"),
    ("init", 1, "init"),
    ("init", "true", "init"),
    *[("queue", bad, "queue") for bad in ("", " ", "a b", NUL, BIDI, LONG, "-a", "a/b", "'; --", 5)],
    *[("priority", bad, "priority") for bad in (2**31, -(2**31) - 1, 2**63, 2**70, 1.5, "1", True)],
    *[
        ("runAt", bad, "runAt")
        for bad in (
            *("", "tomorrow", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z"),
            *("1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", 1767225600, True),
        )
    ],
    *[("idempotencyKey", bad, "idempotencyKey") for bad in ("", " ", LONG, NUL, BIDI, 5)],
    *[("maxAttempts", bad, "maxAttempts") for bad in (0, -1, 2**31, 1001, 1.5, "3", True)],
    *[("maxLosses", bad, "maxLosses") for bad in (-1, 2**31, 1.5, "3")],
    ("retry", [], "retry"),
    ("retry", {"baseSeconds": -1}, "retry.baseSeconds"),
    ("retry", {"factor": 0.5}, "retry.factor"),
    ("retry", {"factor": 1e300}, "retry.factor"),
    ("retry", {"maxSeconds": 1e18}, "retry.maxSeconds"),
    ("retry", {"jitter": 2}, "retry.jitter"),
    ("retry", {"on": ["BOOM"]}, "retry.on"),
    ("retry", {"notOn": ["exit:256"]}, "retry.notOn"),
    ("retry", {"on": "TIMEOUT"}, "retry.on"),
    ("retry", {"on": ["exit:0"]}, "retry.on"),
    ("retry", {"on": ["TIMEOUT", "exit:3"], "notOn": ["exit:3"]}, "retry.notOn"),
    ("retry", {"surprise": 1}, "retry.surprise"),
    *[
        (field, bad, field)
        for field in ("timeoutSeconds", "queueTimeoutSeconds", "deadlineSeconds")
        for bad in (0, -1, 1e18, "10", True)
    ],
    ("delivery", "exactly_once", "delivery"),
    ("onLost", "panic", "onLost"),
    ("onDisconnect", "keep", "onDisconnect"),  # with onLost retry, the default
    ("onDisconnect", "wait", "onDisconnect"),
    ("placement", [], "placement"),
    ("placement", {"nodeSelector": {"a b": "x"}}, "placement.nodeSelector"),
    ("placement", {"nodeSelector": {"a": 1}}, "placement.nodeSelector.a"),
    ("placement", {"constraints": [{"label": "a"}]}, "placement.constraints.0.values"),
    ("placement", {"constraints": [{"label": "", "values": ["x"]}]}, "placement.constraints.0.label"),
    ("placement", {"constraints": [{"label": "a", "operator": "like"}]}, "placement.constraints.0.operator"),
    (
        "placement",
        {"constraints": [{"label": "a", "operator": "exists", "values": ["x"]}]},
        "placement.constraints.0.values",
    ),
    (
        "placement",
        {"affinity": [{"label": "a", "values": ["x"], "weight": 0}]},
        "placement.affinity.0.weight",
    ),
    (
        "placement",
        {"affinity": [{"label": "a", "values": ["x"], "weight": 101}]},
        "placement.affinity.0.weight",
    ),
    ("placement", {"spread": "a b"}, "placement.spread"),
    ("placement", {"strategy": "random"}, "placement.strategy"),
    ("placement", {"surprise": 1}, "placement.surprise"),
    ("surprise", 1, "surprise"),
    (TEN_KB, 1, "x" * 80),
    ("taskid", "x", "taskid"),
    ("handler", "module:function", "handler"),
    ("dependsOn", [{"taskId": "x"}], "dependsOn"),
    ("secrets", [{"name": "x"}], "secrets"),
]

DENIED: list[Row] = [
    ("network", "host", "network"),
    ("network", "container:abc", "network"),
    *[
        ("mounts", [{"type": "bind", "source": source, "target": "/a"}], "mounts.0.source")
        for source in (
            "/",
            "/etc",
            "/proc",
            "/proc/1",
            "/var/run/docker.sock",
            "//var/./run/docker.sock",
            "/dev/sda",
        )
    ],
    ("mounts", [{"type": "volume", "source": "data", "target": "/proc"}], "mounts.0.target"),
    ("mounts", [{"type": "volume", "source": "data", "target": "/var/run/docker.sock"}], "mounts.0.target"),
    ("tmpfs", {"/sys/fs": ""}, "tmpfs"),
]

REGISTER: list[Row] = [
    *[
        ("hostname", bad, "hostname")
        for bad in (
            "",
            " ",
            None,
            5,
            True,
            [],
            "a b",
            "-a",
            "a..b",
            "a/b",
            LONG,
            NUL,
            BIDI,
            "http://a",
            "ä b",
            "a_\n",
        )
    ],
    *[("port", bad, "port") for bad in (None, 0, -1, 70_000, 2**63, "8071", True, 80.5, [])],
    *[("capacity", bad, "capacity") for bad in (0, -1, 2**63, 2**70, "4", True, 1.5, [], {})],
    *[("cpu", bad, "cpu") for bad in (0, -1, "0", "1Xi", "", "-500m", True, [], 1e9, 2**63)],
    *[("memory", bad, "memory") for bad in (0, 1, -1, "1Xi", "", "1 Gi", 2**63, "5Mi", True, {})],
    *[
        ("labels", bad, "labels")
        for bad in ([], "a", {"a": 1}, {"a b": "x"}, {"": "x"}, {f"l{n}": "" for n in range(101)})
    ],
    ("labels", {"a": BIDI}, "labels.a"),
    ("labels", {"podling.io/zone": "a"}, "labels"),
    ("labels", {"a": LONG}, "labels.a"),
    ("labels", {"a": NUL}, "labels.a"),
    ("surprise", 1, "surprise"),
    ("Hostname", "a", "Hostname"),
]


def _id(row: Any) -> str | None:
    return ascii(row)[:60] if not isinstance(row, tuple) else None


async def test_the_tables_are_long_enough() -> None:
    assert len(SUBMIT) + len(DENIED) + len(REGISTER) >= 120


async def _refused(master: RunningMaster, path: str, body: dict[str, Any], named: str, status: int) -> None:
    async with asyncio.timeout(5):
        answer = await master.api.post(path, body)
    assert answer.status == status, answer.text
    told = answer.json
    assert set(told) == {"error", "code", "details"}
    assert told["details"]["field"] == named, told
    assert told["code"] in ("invalid_field", "unknown_field", "unsupported_field", "policy_denied"), told
    assert len(told["error"]) < 400 and told["error"].isprintable(), told


@pytest.mark.parametrize("field, bad, named", SUBMIT, ids=_id)
async def test_a_submit_is_refused(shared_master: RunningMaster, field: str, bad: Any, named: str) -> None:
    await _refused(shared_master, "/tasks", task_body(**{field: bad}), named, 400)


@pytest.mark.parametrize("field, bad, named", DENIED, ids=_id)
async def test_a_submit_is_denied(shared_master: RunningMaster, field: str, bad: Any, named: str) -> None:
    await _refused(shared_master, "/tasks", task_body(**{field: bad}), named, 403)


@pytest.mark.parametrize("field, bad, named", REGISTER, ids=_id)
async def test_a_registration_is_refused(
    shared_master: RunningMaster, field: str, bad: Any, named: str
) -> None:
    body = {"hostname": "a.test", "port": 8071, field: bad}
    if field not in ("capacity", "cpu", "memory"):
        body.setdefault("capacity", 4)
    await _refused(shared_master, "/nodes/register", body, named, 400)


async def test_nothing_of_it_was_stored(shared_master: RunningMaster) -> None:
    assert (await shared_master.api.get("/tasks")).json == []
    assert (await shared_master.api.get("/nodes")).json == []


async def test_a_batch_refuses_the_same_by_item(shared_master: RunningMaster) -> None:
    rows = [row for row in SUBMIT + DENIED if "\\u0000" not in ascii(row) and "\\x00" not in ascii(row)]
    bodies = [task_body(**{field: bad}) for field, bad, _ in rows]
    answer = await shared_master.api.post("/tasks:batch", {"tasks": bodies})
    assert answer.status == 200, answer.text
    assert [item["details"]["field"] for item in answer.json] == [named for _, _, named in rows]


async def test_what_is_unusual_and_right_is_accepted(shared_master: RunningMaster) -> None:
    for fields in (
        {"name": "x" * 253},
        {"name": "日本 <b>'; DROP TABLE tasks; --"},
        {"image": "registry.test:5000/a/b__c:v1.2@sha256:" + "0" * 64},
        {"args": ["line\nline", "\\u0000 as text", "\u202e", ""]},
        {"env": {"A": "x" * 100_000, "lower.case-name": ""}},
        {"priority": 2**31 - 1},
        {"priority": -(2**31)},
        {"runAt": "1970-01-01T00:00:00Z"},
        {"runAt": "9999-12-31T23:59:59Z"},
        {"timeoutSeconds": 0.001, "deadlineSeconds": 315_000_000},
        {"resources": {"requests": {"cpu": 1, "memory": "6Mi", "gpu": 2}}},
        {"maxAttempts": 1000, "maxLosses": 0},
        {"onLost": "hold", "onDisconnect": "keep"},
        {"idempotencyKey": "x" * 255},
    ):
        task = await shared_master.api.submit(**fields)
        read = await shared_master.api.task(task["taskId"])
        assert all(read[key] == task[key] for key in fields)
        await shared_master.api.post(f"/tasks/{task['taskId']}/cancel")
