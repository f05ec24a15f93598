"""Queries, times, verbs on tasks and nodes, and what simple workers send by REST."""

import json
from typing import Any
from urllib.parse import quote

from tests.master.bad_input.json_rows import task
from tests.master.bad_input.rows import FIELD_CODES, Row, head, post, row, with_body

_NUL, _BIDI = "a\0b", "a\u202eb"
_WHOLE_NUMBERS = [
    *(
        "0",
        "-1",
        "501",
        "1e9",
        "1000000000",
        "9" * 40,
        "9" * 5000,
        "",
        "ten",
        "1.5",
        "０",
        "+1",
        " 1",
        "0x1",
        "true",
    )
]
_CURSORS = ["", "x", "====", "ä", "AAAA", "MjAyNi0wMS0wMQ", "a" * 5000, "MDAwMS0wMS0wMVQwMDowMDowMFogeA"]

LISTS: list[tuple[str, str]] = [
    *[("limit", bad) for bad in _WHOLE_NUMBERS],
    *[("cursor", bad) for bad in _CURSORS],
    *[("status", bad) for bad in ("", "Pending", "pending,", "scheduled;drop", "null", "0")],
    *[("queue", bad) for bad in (_NUL, "a\nb", _BIDI)],
    *[("node", bad) for bad in (_NUL, "\x7f")],
    *[("name", bad) for bad in (_NUL, "\x1b[31m", "\u2066")],
    *[("label", bad) for bad in ("a\0=b", "a b", "=b", "")],
    ("surprise", "1"),
    ("Limit", "1"),
    ("limit;drop", "1"),
    ("x" * 80, "1"),
]

LOGS: list[tuple[str, str]] = [
    *[("attempt", bad) for bad in ("0", "-1", "one", "9" * 30, "1.0")],
    *[("tail", bad) for bad in ("-1", "all", "9" * 30)],
    *[("stream", bad) for bad in ("", "stdin", "STDOUT", "stdout,stderr")],
    *[
        ("since", bad)
        for bad in ("", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "1969-12-31T00:00:00Z")
    ],
    *[("since", bad) for bad in ("10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "1767225600", _NUL)],
    *[("follow", bad) for bad in ("yes", "2", "TRUE")],
]

STATUSES: list[tuple[dict[str, Any], str]] = [
    ({}, "status"),
    ({"status": "exploded"}, "status"),
    ({"status": "pending"}, "status"),
    ({"status": True}, "status"),
    ({"status": "running", "attempt": -1}, "attempt"),
    ({"status": "running", "attempt": True}, "attempt"),
    ({"status": "running", "attempt": "1"}, "attempt"),
    ({"status": "running", "attempt": 2**31 + 1}, "attempt"),
    ({"status": "failed", "exitCode": 256}, "exitCode"),
    ({"status": "failed", "exitCode": -1}, "exitCode"),
    ({"status": "failed", "exitCode": "0"}, "exitCode"),
    ({"status": "failed", "exitCode": 1.5}, "exitCode"),
    ({"status": "running", "healthStatus": "splendid"}, "healthStatus"),
    ({"status": "running", "containerId": 5}, "containerId"),
    ({"status": "running", "error": ["x"]}, "error"),
    ({"status": "running", "surprise": 1}, "surprise"),
]

_GOOD_TAIL = {"taskId": "x", "attempt": 1, "frames": ""}
TAILS: list[Any] = [
    *(None, {}, "all", [None], [5], [{}], [[]]),
    *([_GOOD_TAIL | {"attempt": bad}] for bad in (0, -1, 2**31, 2**63, True, "1", 1.5, None)),
    *([_GOOD_TAIL | {"droppedBytes": bad}] for bad in (-1, 2**53, True, "0")),
    *([_GOOD_TAIL | {"frames": bad}] for bad in ("not base64", "AAAA", 5, None, "A" * 200_000)),
    *([_GOOD_TAIL | {"taskId": bad}] for bad in (5, None, True)),
]

VERBS: list[tuple[str, dict[str, Any], str]] = [
    ("/tasks/x/replay", {"queue": 5}, "queue"),
    ("/tasks/x/replay", {"runAt": "tomorrow"}, "runAt"),
    ("/tasks/x/replay", {"runAt": True}, "runAt"),
    ("/tasks/x/replay", {"surprise": 1}, "surprise"),
    ("/tasks/x/resolve", {"outcome": "maybe"}, "outcome"),
    ("/tasks/x/resolve", {}, "outcome"),
    ("/tasks/x/resolve", {"outcome": "retry", "attempt": 0}, "attempt"),
    ("/tasks/x/resolve", {"outcome": "retry", "attempt": True}, "attempt"),
    *[("/nodes/x/drain", {"deadlineSeconds": bad}, "deadlineSeconds") for bad in (-1, 1e18, "10", True, [])],
    ("/nodes/x/drain", {"surprise": 1}, "surprise"),
    *[("/tasks:batch", {"tasks": bad}, "tasks") for bad in (None, [], {}, "all", [{}] * 1001)],
    ("/tasks:batch", {"tasks": [{}], "surprise": 1}, "surprise"),
]

PARENTS = {
    "a parent that is not there": ('"dependsOn":[{"taskId":"x"}]', "missing_parent"),
    "10,000 parents": ('"dependsOn":[' + ",".join(['{"taskId":"x"}'] * 10_000) + "]", "invalid_field"),
}

NOT_YET = {
    "a secret": '"secrets":[{"name":"x"}]',
    "a probe": '"livenessProbe":{"type":"exec","command":["x"]}',
}

TAKE_NO_QUERY = [
    ("GET", "/docs"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/alerts"),
    ("GET", "/api/v1/ca.pem"),
    ("GET", "/api/v1/cluster"),
    ("GET", "/api/v1/metrics"),
    ("GET", "/api/v1/nodes/x"),
    ("GET", "/api/v1/nodes/x/session"),
    ("GET", "/api/v1/policy"),
    ("GET", "/api/v1/tasks/x"),
    ("GET", "/api/v1/tasks/x/explain"),
    ("POST", "/api/v1/tasks"),
    ("POST", "/api/v1/tasks:batch"),
    ("POST", "/api/v1/tasks/x/cancel"),
    ("POST", "/api/v1/tokens"),
    ("PUT", "/api/v1/tasks/x/status"),
    ("DELETE", "/api/v1/tokens/x"),
]

KEYS = ["", " ", "x" * 300]


def _query(path: str, name: str, text: str) -> bytes:
    return head("GET", f"/api/v1{path}?{quote(name)}={quote(text)}")


ROWS: list[Row] = [
    *[
        row(f"list {n}={ascii(bad)[:30]}", _query("/tasks", n, bad), 400, *FIELD_CODES, field=n)
        for n, bad in LISTS
    ],
    *[
        row(f"logs {n}={ascii(bad)[:30]}", _query("/tasks/x/logs", n, bad), 400, *FIELD_CODES, field=n)
        for n, bad in LOGS
    ],
    row(
        "a parameter twice", head("GET", "/api/v1/tasks?limit=1&limit=2"), 400, "invalid_field", field="limit"
    ),
    *[
        row(
            f"{method} {path} with a query",
            head(method, f"{path}?x=1"),
            400,
            "unknown_field",
            field="x",
            says="this path takes none",
        )
        for method, path in TAKE_NO_QUERY
    ],
    *[
        row(f"{path} in another encoding", head("GET", f"/api/v1{path}"), 400, *FIELD_CODES, field=field)
        for path, field in (
            ("/tasks?name=%ff", "name"),
            ("/tasks?limit=1&label=a=%C3%28", "label"),
            ("/events?queue=%ed%a0%80", "queue"),
            ("/tasks?%ff=1", "\ufffd"),
        )
    ],
    row("2,000 parameters", head("GET", "/api/v1/tasks?" + "a=1&" * 1500), 400, "unknown_field", field="a"),
    *[
        row(
            f"status {body}",
            with_body("PUT", "/api/v1/tasks/x/status", json.dumps(body).encode()),
            400,
            *FIELD_CODES,
            field=field,
        )
        for body, field in STATUSES
    ],
    *[
        row(
            f"tails {ascii(tails)[:40]}",
            post("/nodes/node-1/tails", json.dumps({"tails": tails}).encode()),
            400,
            "invalid_field",
            field="tails",
        )
        for tails in TAILS
    ],
    *[
        row(
            f"{path} {ascii(body)[:40]}",
            post(path, json.dumps(body).encode()),
            400,
            *FIELD_CODES,
            field=field,
        )
        for path, body, field in VERBS
    ],
    *[row(name, post("/tasks", task(fields)), 400, "unsupported_field") for name, fields in NOT_YET.items()],
    *[row(name, post("/tasks", task(fields)), 400, code) for name, (fields, code) in PARENTS.items()],
    *[
        row(
            f"Idempotency-Key {ascii(key)[:20]}",
            post("/tasks", task('"priority":1'), f"Idempotency-Key: {key}"),
            400,
            "invalid_field",
            field="idempotencyKey",
        )
        for key in KEYS
    ],
    row(
        "two Idempotency-Keys",
        post("/tasks", task('"priority":1'), "Idempotency-Key: a", "Idempotency-Key: b"),
        400,
        "invalid_field",
        field="Idempotency-Key",
    ),
    row(
        "an Idempotency-Key in Latin-1",
        post("/tasks", task('"priority":1'), "Idempotency-Key: \u00e4"),
        400,
        "invalid_field",
        field="Idempotency-Key",
    ),
    row(
        "a key in header and body",
        post("/tasks", task('"idempotencyKey":"a"'), "Idempotency-Key: b"),
        400,
        "invalid_field",
        field="idempotencyKey",
    ),
    row("facts of 100 kB", post("/nodes/x/facts", b"x" * 100_000), 413, "payload_too_large"),
    row("facts without a time", post("/nodes/x/facts", b"{}"), 400, "invalid_field", field="at"),
    *[
        row(f"removal {query}", head("DELETE", f"/api/v1/nodes/x?{query}"), 400, *FIELD_CODES)
        for query in ("held=maybe", "held=retry", "lost=yes", "surprise=1")
    ],
    *[
        row(f"{method} {path}", with_body(method, f"/api/v1{path}", b""), 404, code)
        for method, path, code in (
            ("POST", "/tasks/x/cancel", "task_not_found"),
            ("POST", "/tasks/x/retry", "task_not_found"),
            ("POST", "/tasks/x/replay", "task_not_found"),
            ("GET", "/tasks/x/attempts", "task_not_found"),
            ("GET", "/tasks/x/explain", "task_not_found"),
            ("GET", "/tasks/x/timeline", "task_not_found"),
            ("GET", "/tasks/x/logs", "task_not_found"),
            ("POST", "/nodes/x/cordon", "node_not_found"),
            ("POST", "/nodes/x/drain", "node_not_found"),
            ("POST", "/nodes/x/heartbeat", "node_not_found"),
            ("DELETE", "/nodes/x", "node_not_found"),
        )
    ],
]
