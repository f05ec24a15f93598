"""Every field of a submit and of a registration refuses what cannot be meant, by its name."""

from typing import Any

from tests.master.bad_input.rows import Row, posted
from tests.master.masters import task_body

LONG = "x" * 300
TEN_KB = "x" * 10_000
NUL, BELL, BIDI = "a\0b", "a\x07b", "a\u202eb"

Field = tuple[str, Any, str]  # of the body, what it holds, the one that is named


def _names(field: str) -> list[Field]:
    return [(field, bad, field) for bad in ("", " ", NUL, BELL, BIDI, "a\nb", 5, True, [], {})]


SUBMIT: list[Field] = [
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
    ("runtime", "python", "handler"),
    ("handler", "email.send", "handler"),
    ("handler", 7, "handler"),
    ("payload", {"to": 1}, "payload"),
    ("runtime", "sql", "statement"),
    ("statement", "DROP TABLE tasks", "statement"),
    *[("statement", bad, "statement") for bad in (7, True, ["SELECT 1"], {"sql": "SELECT 1"})],
    ("parameters", [1], "parameters"),
    *[("parameters", bad, "parameters") for bad in ("x", {"$1": 1}, 5, [1] * 1001)],
    ("database", "shop", "database"),
    ("database", 7, "database"),
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
    ("shmSize", "much", "shmSize"),
    ("shmSize", True, "shmSize"),
    ("shmSize", 1e300, "shmSize"),
    ("logging", 5, "logging"),
    ("logging", {"maxSize": "1"}, "logging.maxSize"),
    ("logging", {"maxFiles": 2**70}, "logging.maxFiles"),
    ("logging", {"driver": "syslog"}, "logging.driver"),
    ("ulimits", {"nofile": "many"}, "ulimits.nofile"),
    ("ulimits", {"": 1}, "ulimits"),
    ("ulimits", [], "ulimits"),
    ("capabilities", ["ALL"], "capabilities"),
    ("capabilities", {"add": [NUL]}, "capabilities.add.0"),
    ("devices", [{}], "devices.0.hostPath"),
    ("devices", ["/dev/null"], "devices.0"),
    ("securityOptions", ["seccomp={}"], "securityOptions.0"),
    ("extraHosts", {"a": None}, "extraHosts.a"),
    ("extraHosts", {"a b": "10.0.0.1"}, "extraHosts"),
    ("dns", ["10.0.0.1\noptions x"], "dns.0"),
    ("hostname", "-a", "hostname"),
    ("privileged", 1, "privileged"),
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
    *[("concurrencyKey", bad, "concurrencyKey") for bad in ("", " ", LONG, NUL, BIDI, 5)],
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
    ("dependsOn", [{"taskId": "x", "when": "maybe"}], "dependsOn.0.when"),
    ("secrets", [{"name": "x"}], "secrets"),
]

DENIED: list[Field] = [
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

REGISTER: list[Field] = [
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


def _registration(**fields: Any) -> dict[str, Any]:
    count = {} if fields.keys() & {"cpu", "memory"} else {"capacity": 4}
    return {"hostname": "a.test", "port": 8071} | count | fields


ROWS: list[Row] = [
    *[posted("submit", "/tasks", task_body(**{field: bad}), 400, named) for field, bad, named in SUBMIT],
    *[posted("denied", "/tasks", task_body(**{field: bad}), 403, named) for field, bad, named in DENIED],
    *[
        posted("register", "/nodes/register", _registration(**{field: bad}), 400, named)
        for field, bad, named in REGISTER
    ],
]
