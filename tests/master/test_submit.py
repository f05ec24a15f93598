"""Tasks are accepted, once per key, and listed."""

import asyncio
from datetime import datetime
from typing import Any

from tests.master.masters import RunningMaster, task_body


async def test_a_submitted_task_is_created_and_readable(master: RunningMaster) -> None:
    answer = await master.api.post("/tasks", task_body(name="first", env={"A": "1"}, labels={"team": "x"}))
    assert answer.status == 201
    task = answer.json
    assert (task["status"], task["name"], task["image"]) == ("pending", "first", "busybox:local")
    assert (task["env"], task["labels"]) == ({"A": "1"}, {"team": "x"})
    assert task["nodeId"] is None and task["containerId"] is None and task["attempt"] == 0
    assert datetime.fromisoformat(task["createdAt"]).utcoffset() is not None
    assert task["createdAt"].endswith("Z") and len(task["createdAt"]) == 27
    assert await master.api.task(task["taskId"]) == task


async def test_a_task_that_fits_nowhere_is_created_with_the_reason(master: RunningMaster) -> None:
    task = await master.api.submit()
    assert task["schedulingError"] == "no node is online"
    assert (await master.api.task(task["taskId"]))["schedulingError"] == "no node is online"
    await master.worker(slots=1)
    placed = await master.until_status(task["taskId"], "scheduled")
    assert placed["schedulingError"] is None
    waiting = await master.api.submit(name="second")
    assert "slots" in waiting["schedulingError"]


async def test_the_same_key_gives_the_same_task(master: RunningMaster) -> None:
    body = task_body(idempotencyKey="order-1", env={"A": "1", "B": "2"})
    first = await master.api.post("/tasks", body)
    again = await master.api.post("/tasks", body | {"env": {"B": "2", "A": "1"}})
    assert (first.status, again.status) == (201, 200)
    assert again.json["taskId"] == first.json["taskId"]
    assert len((await master.api.get("/tasks")).json) == 1


async def test_the_key_may_come_as_a_header(master: RunningMaster) -> None:
    key = {"Idempotency-Key": "order-2"}
    first = await master.api.post("/tasks", task_body(), headers=key)
    again = await master.api.post("/tasks", task_body(), headers=key)
    field = await master.api.post("/tasks", task_body(idempotencyKey="order-2"))
    assert [first.status, again.status, field.status] == [201, 200, 200]
    assert {first.json["taskId"]} == {again.json["taskId"], field.json["taskId"]}
    assert first.json["idempotencyKey"] == "order-2"


async def test_a_key_of_another_body_is_a_conflict(master: RunningMaster) -> None:
    first = await master.api.submit(idempotencyKey="order-3")
    other = await master.api.post("/tasks", task_body(idempotencyKey="order-3", priority=1))
    assert (other.status, other.code) == (409, "idempotency_mismatch")
    assert other.json["details"]["taskId"] == first["taskId"]
    assert len((await master.api.get("/tasks")).json) == 1


async def test_header_and_field_must_agree(master: RunningMaster) -> None:
    body = task_body(idempotencyKey="one")
    agreed = await master.api.post("/tasks", body, headers={"Idempotency-Key": "one"})
    other = await master.api.post("/tasks", body, headers={"Idempotency-Key": "two"})
    assert agreed.status == 201
    assert (other.status, other.field) == (400, "idempotencyKey")


async def test_many_submits_with_one_key_at_once_make_one_task(master: RunningMaster) -> None:
    body = task_body(idempotencyKey="storm")
    answers = await asyncio.gather(*(master.api.post("/tasks", body) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({answer.json["taskId"] for answer in answers}) == 1


async def test_a_batch_answers_item_by_item_in_order(master: RunningMaster) -> None:
    items = [
        task_body(name="a"),
        {"name": "b"},
        task_body(name="c", priorty=3),
        "no object",
        task_body(name="e"),
    ]
    answer = await master.api.post("/tasks:batch", {"tasks": items})
    assert answer.status == 200
    results = answer.json
    assert ["taskId" in result for result in results] == [True, False, False, False, True]
    assert results[1]["details"] == {"field": "image"}
    assert (results[2]["code"], results[2]["details"]) == ("unknown_field", {"field": "priorty"})
    assert results[3]["code"] == "invalid_json"
    names = [(await master.api.task(results[index]["taskId"]))["name"] for index in (0, 4)]
    assert names == ["a", "e"]


async def test_a_batch_knows_its_own_repeated_keys(master: RunningMaster) -> None:
    same = task_body(idempotencyKey="k")
    answer = await master.api.post("/tasks:batch", {"tasks": [same, same, same | {"priority": 1}]})
    first, second, third = answer.json
    assert first == second
    assert third["code"] == "idempotency_mismatch"


async def test_a_batch_has_one_to_a_thousand_tasks(master: RunningMaster) -> None:
    for tasks in ([], [task_body()] * 1001, {}, None):
        answer = await master.api.post("/tasks:batch", {"tasks": tasks})
        assert (answer.status, answer.field) == (400, "tasks")
    unknown = await master.api.post("/tasks:batch", {"tasks": [task_body()], "task": 1})
    assert (unknown.status, unknown.code) == (400, "unknown_field")
    full = await master.api.post("/tasks:batch", {"tasks": [task_body()] * 1000})
    assert len({item["taskId"] for item in full.json}) == 1000


async def test_an_empty_list_is_an_empty_array(master: RunningMaster) -> None:
    answer = await master.api.get("/tasks")
    assert (answer.status, answer.text) == (200, "[]")
    assert "Link" not in answer.headers and "X-Next-Cursor" not in answer.headers


async def _names(master: RunningMaster, **query: Any) -> list[str]:
    answer = await master.api.get("/tasks", **query)
    assert answer.status == 200, answer.text
    return [task["name"] for task in answer.json]


async def test_lists_are_filtered_and_newest_first(master: RunningMaster) -> None:
    await master.api.submit(name="a", queue="fast", labels={"team": "x", "empty": ""})
    await master.api.submit(name="b", queue="fast", labels={"team": "y"})
    c = await master.api.submit(name="c", labels={"team": "x"})
    await master.api.post(f"/tasks/{c['taskId']}/cancel")
    assert await _names(master) == ["c", "b", "a"]
    assert await _names(master, queue="fast") == ["b", "a"]
    assert await _names(master, name="b") == ["b"]
    assert await _names(master, label="team=x") == ["c", "a"]
    assert await _names(master, label="empty=") == ["a"]
    assert await _names(master, status="cancelled") == ["c"]
    assert await _names(master, status="pending,cancelled") == ["c", "b", "a"]
    assert await _names(master, status="pending", label="team=x", queue="fast") == ["a"]
    assert await _names(master, node="nowhere") == []
    assert await _names(master, name="100%_") == []
    both = await master.api.call("GET", "/tasks?label=team%3Dx&label=empty%3D")
    assert [task["name"] for task in both.json] == ["a"]


async def test_lists_are_filtered_by_node(master: RunningMaster) -> None:
    await master.worker("node-1", slots=1)
    task = await master.api.submit(name="placed")
    await master.until_status(task["taskId"], "scheduled")
    await master.api.submit(name="waiting")
    assert await _names(master, node="node-1") == ["placed"]


async def test_pages_follow_each_other_without_gap_or_repeat(master: RunningMaster) -> None:
    for name in "abcdefg":
        await master.api.submit(name=name)
    seen, pages = [], 0
    path = "/tasks?limit=3"
    while path:
        answer = await master.api.call("GET", path)
        seen += [task["name"] for task in answer.json]
        pages += 1
        link = answer.headers.get("Link", "")
        assert bool(link) == ("X-Next-Cursor" in answer.headers)
        assert not link or (link.startswith("</api/v1/tasks?") and link.endswith('>; rel="next"'))
        path = link[1:].partition(">")[0].removeprefix("/api/v1")
        await master.api.submit(name="newer")  # newer ones never shift the pages behind
    assert seen == list("gfedcba")
    assert pages == 3


async def test_a_page_that_is_full_and_last_leads_nowhere(master: RunningMaster) -> None:
    for name in "abcd":
        await master.api.submit(name=name)
    first = await master.api.get("/tasks", limit=2)
    last = await master.api.get("/tasks", limit=2, cursor=first.headers["X-Next-Cursor"])
    assert [task["name"] for task in last.json] == ["b", "a"]
    assert "X-Next-Cursor" not in last.headers and "Link" not in last.headers


async def test_the_next_page_keeps_the_filters(master: RunningMaster) -> None:
    for name in "abc":
        await master.api.submit(name=name, labels={"team": "a b&c"})
    answer = await master.api.get("/tasks", limit=1, label="team=a b&c", status="pending")
    path = answer.headers["Link"][1:].partition(">")[0].removeprefix("/api/v1")
    assert [task["name"] for task in (await master.api.call("GET", path)).json] == ["b"]


async def test_a_missing_task_is_told_as_the_reference_does(master: RunningMaster) -> None:
    missing = "0190a000-0000-7000-8000-000000000000"
    for method, path in [
        ("GET", ""),
        ("GET", "/attempts"),
        ("GET", "/timeline"),
        ("GET", "/explain"),
        ("GET", "/logs"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("POST", "/replay"),
    ]:
        answer = await master.api.call(method, f"/tasks/{missing}{path}")
        assert answer.status == 404, (method, path, answer.text)
        assert answer.json == {"error": "task not found", "code": "task_not_found", "details": {}}
    answer = await master.api.put(f"/tasks/{missing}/status", {"status": "running"})
    assert (answer.status, answer.json["error"]) == (404, "task not found")


async def test_what_a_list_gave_can_be_posted_again(master: RunningMaster) -> None:
    fields: dict[str, Any] = {
        "command": ["sh", "-c"],
        "args": ["exit 0"],
        "ports": [{"containerPort": 80, "hostPort": 8080, "name": "web"}],
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": 2000}},
        "placement": {"nodeSelector": {"zone": "a"}},
        "retry": {"baseSeconds": 1, "on": ["exit:75"]},
        "mounts": [{"type": "volume", "source": "data", "target": "/data"}],
        "tmpfs": {"/scratch": "size=1m"},
        "maxAttempts": 3,
        "readOnlyRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "ulimits": {"nofile": 1024, "core": {"soft": 0}},
        "shmSize": "64Mi",
        "extraHosts": {"db": "10.0.0.5"},
        "dns": ["10.0.0.1"],
        "logging": {"maxSize": "1Mi"},
    }
    first = await master.api.submit(**fields)
    assert first["resources"] == {"requests": {"cpu": 500, "memory": 256 * 2**20}, "limits": {"cpu": 2000}}
    assert (first["shmSize"], first["logging"]) == (64 * 2**20, {"maxSize": 2**20, "maxFiles": 4})
    assert first["ulimits"]["nofile"] == {"soft": 1024, "hard": None}
    answer = await master.api.post("/tasks", first)
    assert answer.status == 201, answer.text
    changing = {"taskId", "createdAt", "runAt"}
    again = answer.json
    assert {key: again[key] for key in again.keys() - changing} == {
        key: first[key] for key in first.keys() - changing
    }


async def test_null_means_absent(master: RunningMaster) -> None:
    task = await master.api.submit(
        priority=None, retry={"baseSeconds": None}, livenessProbe=None, user=None, placement={"spread": None}
    )
    assert (task["priority"], task["retry"]["baseSeconds"]) == (0, 2.0)
