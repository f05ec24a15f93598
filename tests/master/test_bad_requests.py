"""What is strange and right is accepted, and chance finds nothing that a master stumbles over."""

import asyncio
import gzip
import json
import random
from typing import Any

import pytest

from podling.kit.connection import STAMP
from podling.master.api.http import MOST_BODY_BYTES
from tests.master.bad_input.rows import head, send
from tests.master.masters import Answer, RunningMaster, task_body

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _body(fields: str) -> bytes:
    return b'{"name":"job","image":"busybox:local",' + fields.encode() + b"}"


def _deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


async def _post(master: RunningMaster, path: str, raw: bytes, **headers: str) -> Answer:
    async with asyncio.timeout(5):
        return await master.api.call("POST", path, raw=raw, headers=headers)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/x-www-form-urlencoded",
    ],
)
async def test_what_counts_is_the_body_not_its_label(shared_master: RunningMaster, content_type: str) -> None:
    """`curl -d` labels everything as a form."""
    raw = json.dumps(task_body()).encode()
    answer = await _post(shared_master, "/tasks", raw, **{"Content-Type": content_type})
    assert answer.status == 201
    await shared_master.api.post(f"/tasks/{answer.json['taskId']}/cancel")


async def test_probes_may_add_what_they_like(shared_master: RunningMaster) -> None:
    for path in ("//health?x=1", "//ready?cache=%ff", "/health?limit=1&limit=2"):
        assert (await shared_master.api.call("GET", path)).status == 200, path


async def test_a_text_with_the_replacement_character_itself_is_one(shared_master: RunningMaster) -> None:
    assert (await shared_master.api.get("/tasks", name="a\ufffdb")).json == []


async def test_what_is_no_task_in_a_batch_is_named(shared_master: RunningMaster) -> None:
    answer = await shared_master.api.post("/tasks:batch", {"tasks": [1, None, [], "x", {}]})
    assert [item["details"]["field"] for item in answer.json] == [*(f"tasks.{n}" for n in range(4)), "name"]
    assert answer.json[1]["error"] == "tasks.1: must be a JSON object, with the fields of a task"


async def test_a_backslash_before_u0000_is_only_text(shared_master: RunningMaster) -> None:
    task = await shared_master.api.submit(args=["\\u0000", "\\\\u0000"])
    assert (await shared_master.api.task(task["taskId"]))["args"] == ["\\u0000", "\\\\u0000"]


async def test_64_levels_are_read(shared_master: RunningMaster) -> None:
    answer = await _post(shared_master, "/tasks", _body('"surprise":' + _deep(62)))
    assert answer.code == "unknown_field"


async def test_a_body_may_have_exactly_the_limit(shared_master: RunningMaster) -> None:
    start, end = b'{"name":"job","image":"', b'"}'
    fits = start + b"x" * (MOST_BODY_BYTES - len(start) - len(end)) + end
    answer = await _post(shared_master, "/tasks", fits)
    assert (answer.status, answer.field) == (400, "image")
    over = await _post(shared_master, "/tasks", start + b"x" + fits[len(start) :])
    assert (over.status, over.code) == (413, "payload_too_large")
    assert str(MOST_BODY_BYTES) in over.json["error"]


async def test_a_packed_body_is_read(shared_master: RunningMaster) -> None:
    body = gzip.compress(json.dumps(task_body()).encode())
    answer = await _post(shared_master, "/tasks", body, **{"Content-Encoding": "gzip"})
    assert answer.status == 201
    await shared_master.api.post(f"/tasks/{answer.json['taskId']}/cancel")


async def test_commas_and_brackets_in_texts_are_no_values(shared_master: RunningMaster) -> None:
    args = ['[{,"\\' * 20_000, "\\", ',"' * 20_000]
    task = await shared_master.api.submit(args=args)
    assert (await shared_master.api.task(task["taskId"]))["args"] == args
    await shared_master.api.post(f"/tasks/{task['taskId']}/cancel")


async def test_harmless_strangeness_in_filters_finds_nothing(shared_master: RunningMaster) -> None:
    for query in (
        {"name": "' OR 1=1 --"},
        {"name": "%"},
        {"name": "_ob"},
        {"queue": "<script>"},
        {"node": "../../etc/passwd"},
        {"label": "a=b=c"},
        {"name": "日本"},
        {"name": "x" * 5000},
    ):
        answer = await shared_master.api.get("/tasks", **query)
        assert (answer.status, answer.json) == (200, []), query


async def test_random_bytes_and_bent_bodies_never_break_anything(shared_master: RunningMaster) -> None:
    chance = random.Random(20260301)
    good = json.dumps(task_body(env={"A": "1"}, ports=[{"containerPort": 80}], retry={"on": ["exit:1"]}))
    for _ in range(150):
        raw = bytearray(good.encode())
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice(b'{}[]",:0\\x\xff ')
        answer = await _post(shared_master, "/tasks", bytes(raw))
        assert answer.status in (201, 400, 403), (bytes(raw), answer.text)


async def test_values_of_every_wrong_type_never_break_anything(shared_master: RunningMaster) -> None:
    """Each field in turn holds each kind of value; the master answers 201 or a 4xx that names a field."""
    sample = await shared_master.api.submit()
    odd: list[Any] = [None, True, 0, -1, 2**63, 1.5, 1e300, "", "x", [], [None], {}, {"a": None}, [[]], [{}]]
    bodies = [task_body(**{field: value}) for field in sample for value in odd]
    for start in range(0, len(bodies), 1000):
        answer = await shared_master.api.post("/tasks:batch", {"tasks": bodies[start : start + 1000]})
        assert answer.status == 200
        for body, item in zip(bodies[start:], answer.json, strict=False):
            assert "taskId" in item or item["details"].get("field"), (body, item)


@pytest.mark.parametrize("label", ["a b", "=b", ""])
async def test_a_label_filter_that_is_no_selector_is_refused(
    shared_master: RunningMaster, label: str
) -> None:
    answer = await shared_master.api.get("/tasks", label=label)
    assert (answer.status, answer.field) == (400, "label")


async def test_what_lasts_tells_no_more_of_the_program_than_its_name(shared_master: RunningMaster) -> None:
    port = int(shared_master.url.rpartition(":")[2])
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    task = await shared_master.api.submit()
    for path, headers, status in (
        ("/api/v1/nodes/node-1/session", (*upgrade, key), 101),
        ("/api/v1/events", (), 200),
        (f"/api/v1/tasks/{task['taskId']}/logs", (), 200),
    ):
        answer = await send(port, head("GET", path, *headers))
        assert answer.status == status
        assert STAMP.items() <= answer.headers.items(), path
    await shared_master.api.post(f"/tasks/{task['taskId']}/cancel")
