"""What the program inside an attempt says, fenced by its attempt: progress, checkpoints, result."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.protocol import AttemptKey
from podling.core.task_credential import make_credential
from tests.master.event_reader import following
from tests.master.inside import credential, inside, started
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.test_coordination import standing
from tests.master.test_metrics import scraped
from tests.master.tokens import add_token, showing

MEBIBYTE = 1024**2


async def test_a_checkpoint_is_read_by_the_attempt_and_by_people(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    path = f"/tasks/{work.task_id}/checkpoints"
    async with inside(master, worker, work) as api:
        assert (await api.get(path)).json == []
        body = {"progress": 40, "data": {"row": 4000}, "estimatedSecondsRemaining": 60}
        saved = await api.post(path, body)
        assert saved.status == 201
        assert saved.json.items() >= {**body, "taskId": work.task_id, "attempt": 1, "sequence": 1}.items()
        assert set(saved.json) == {*body, "checkpointId", "taskId", "attempt", "sequence", "at"}
        assert (await api.post(path, saved.json | {"progress": None, "data": None})).json["sequence"] == 2
        assert (await api.post(path)).json["sequence"] == 3
        assert [kept["sequence"] for kept in (await api.get(path)).json] == [3, 2, 1]
    first = await master.api.get(path, limit=2)
    assert [kept["sequence"] for kept in first.json] == [3, 2]
    rest = await master.api.get(path, limit=2, cursor=first.headers["X-Next-Cursor"])
    assert rest.json == [saved.json] and "X-Next-Cursor" not in rest.headers
    assert (await master.api.get("/tasks/none/checkpoints")).code == "task_not_found"


async def test_a_page_has_ten_checkpoints_at_most_for_each_may_be_large(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    path = f"/tasks/{work.task_id}/checkpoints"
    async with inside(master, worker, work) as api:
        for _ in range(11):
            await api.post(path)
    first = await master.api.get(path, limit=500)
    rest = await master.api.get(path, cursor=first.headers["X-Next-Cursor"])
    assert [kept["sequence"] for kept in (*first.json, *rest.json)] == list(range(11, 0, -1))
    assert len(first.json) == 10


async def test_the_next_attempt_finds_the_last_checkpoint(master: RunningMaster) -> None:
    """I31."""
    worker = await master.worker()
    work = await started(master, worker, maxAttempts=2, retry={"baseSeconds": 0.01})
    path = f"/tasks/{work.task_id}/checkpoints"
    async with inside(master, worker, work) as api:
        await api.post(path, {"data": 1, "progress": 10})
        await api.post(path, {"data": 2, "progress": 20})
        await worker.end(work, 1)
        late = await api.post(path, {"data": 3})
        assert (late.status, late.code) == (409, "stale_attempt")
    again = await worker.assigned(work.task_id, 2)
    async with inside(master, worker, again) as api:
        assert (await master.api.task(work.task_id))["progress"] is None
        assert (await api.get(path, limit=1)).json[0].items() >= {"data": 2, "attempt": 1}.items()
        assert (await api.post(path, {"data": 4})).json.items() >= {"sequence": 3, "attempt": 2}.items()
    assert [kept["data"] for kept in (await master.api.get(path)).json] == [4, 2, 1]


async def test_progress_and_result_show_wherever_the_task_does(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker, name="long")
    path = f"/tasks/{work.task_id}"
    async with inside(master, worker, work) as api, following(master.api, taskId=work.task_id) as events:
        told = await api.put(f"{path}/progress", {"progress": 12.5})
        assert (told.status, told.json) == (
            200,
            {"taskId": work.task_id, "attempt": 1, "progress": 12.5},
        )
        assert (await events.until(type="task.updated"))[-1]["progress"] == 12.5
        explained = (await master.api.get(f"{path}/explain")).json
        assert {
            "code": "progress",
            "message": "it says it is 12.5 % done",
            "details": {"progress": 12.5},
        } in (explained["reasons"])
        assert (await scraped(master))["podling_progressing_tasks{percent=0}"] == 1
        await api.post(f"{path}/checkpoints", {"progress": 50})
        assert (await master.api.task(work.task_id))["progress"] == 50
        seen = await scraped(master)
        assert seen["podling_checkpoints_total{}"] == seen["podling_progressing_tasks{percent=50}"] == 1
        told = await api.put(f"{path}/result", {"result": {"rows": [1, None]}})
        assert (told.status, told.json["result"]) == (200, {"rows": [1, None]})
    await worker.end(work)
    task = await master.api.task(work.task_id)
    assert (task["status"], task["progress"], task["result"]) == ("completed", 50, {"rows": [1, None]})
    assert (await master.api.get("/tasks")).json[0]["progress"] == 50


async def test_the_same_said_again_changes_nothing(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    async with inside(master, worker, work) as api:
        for _ in range(3):
            assert (await api.put(f"/tasks/{work.task_id}/progress", {"progress": 5})).status == 200
    task = (await master.server.context.store.load_tasks([work.task_id]))[work.task_id]
    assert task.version == 4  # submitted, assigned, started, said


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "progress", {"progress": -0.1}, "progress"),
        ("PUT", "progress", {"progress": 100.5}, "progress"),
        ("PUT", "progress", {"progress": True}, "progress"),
        ("PUT", "progress", {"progress": "5"}, "progress"),
        ("PUT", "progress", {}, "progress"),
        ("PUT", "progress", {"progress": 5, "more": 1}, "more"),
        ("PUT", "result", {}, "result"),
        ("POST", "checkpoints", {"progress": 101}, "progress"),
        ("POST", "checkpoints", {"estimatedSecondsRemaining": -1}, "estimatedSecondsRemaining"),
        ("POST", "checkpoints", {"state": 1}, "state"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    master: RunningMaster, method: str, path: str, body: Any, field: str
) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    async with inside(master, worker, work) as api:
        answer = await api.call(method, f"/tasks/{work.task_id}/{path}", body)
        assert (answer.status, answer.field) == (400, field)
        assert (await api.get(f"/tasks/{work.task_id}/checkpoints")).json == []
    assert (await master.api.task(work.task_id))["progress"] is None


async def test_what_is_too_large_is_refused(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    async with inside(master, worker, work) as api:
        large = await api.post(f"/tasks/{work.task_id}/checkpoints", {"data": "x" * MEBIBYTE})
        assert (large.status, large.code) == (413, "value_too_large")
        large = await api.put(f"/tasks/{work.task_id}/result", {"result": "x" * 65536})
        assert (large.status, large.code) == (413, "result_too_large")
        assert (await api.put(f"/tasks/{work.task_id}/result", {"result": "x" * 65534})).status == 200
        assert (await api.get(f"/tasks/{work.task_id}/checkpoints")).json == []


async def test_a_credential_reaches_its_own_attempt_alone(master: RunningMaster) -> None:
    worker = await master.worker()
    own, other = await started(master, worker), await started(master, worker)
    _, admin = await add_token(master, Role.ADMIN)
    async with showing(master, admin) as people, inside(master, worker, own) as api:
        for method, path in (
            ("GET", f"/tasks/{other.task_id}/checkpoints"),
            ("POST", f"/tasks/{other.task_id}/checkpoints"),
            ("PUT", f"/tasks/{other.task_id}/progress"),
            ("PUT", f"/tasks/{other.task_id}/result"),
        ):
            answer = await api.call(method, path, None if method == "GET" else {"progress": 1})
            assert (answer.status, answer.code) == (403, "another_task"), path
        for method, path in (
            ("GET", f"/tasks/{own.task_id}"),
            ("GET", "/tasks"),
            ("POST", "/tasks"),
            ("POST", f"/tasks/{own.task_id}/cancel"),
            ("DELETE", f"/tasks/{own.task_id}/checkpoints"),
            ("GET", "/nodes"),
            ("GET", "/locks"),
            ("GET", "/cache"),
            ("DELETE", "/locks/tasks:k"),
            ("PUT", "/breakers/tasks:k"),
            ("GET", "/events"),
            ("GET", "//metrics"),
            ("GET", "/nodes/node-1/session"),
        ):
            answer = await api.call(method, path)
            assert (answer.status, answer.code) == (403, "role_needed"), path
        for task in (own, other):
            assert (await people.get(f"/tasks/{task.task_id}/checkpoints")).json == []
            assert (await people.task(task.task_id))["progress"] is None
    _, submitter = await add_token(master, Role.SUBMITTER)
    async with showing(master, submitter) as person:
        said = await person.put(f"/tasks/{own.task_id}/progress", {"progress": 1})
        assert (said.status, said.code) == (403, "role_needed")


async def test_nobody_but_the_attempt_speaks_for_it(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    said = await master.api.put(f"/tasks/{work.task_id}/progress", {"progress": 1})  # who may do all
    assert (said.status, said.code) == (403, "attempt_needed")
    assert (await master.api.task(work.task_id))["progress"] is None


async def test_a_credential_ends_with_its_attempt(masters: Masters) -> None:
    master, other = await masters.start(), await masters.start()
    worker = await master.worker()
    work = await started(master, worker, maxAttempts=2, retry={"baseSeconds": 600})
    async with inside(master, worker, work) as api, inside(other, worker, work) as elsewhere:
        for one in (api, elsewhere):
            assert (await one.post("/locks/tasks:k/acquire", {"owner": "me"})).status == 200
        await worker.end(work, 1)
        for method, path, body in (
            ("GET", f"/tasks/{work.task_id}/checkpoints", None),
            ("POST", f"/tasks/{work.task_id}/checkpoints", {"data": 1}),
            ("PUT", f"/tasks/{work.task_id}/progress", {"progress": 1}),
            ("PUT", f"/tasks/{work.task_id}/result", {"result": 1}),
            ("PUT", "/cache/tasks:k", {"value": 1}),
        ):
            answer = await api.call(method, path, body)
            assert (answer.status, answer.code) == (409, "stale_attempt"), path

        async def refused() -> bool:
            answer = await elsewhere.get("/cache/tasks:k")
            return bool(answer.code == "stale_attempt")

        await eventually(refused, "the other master to hear of the end")
    assert (await master.api.task(work.task_id))["result"] is None
    assert (await master.api.get("/cache/tasks:k")).status == 404


async def test_an_attempt_that_ended_while_it_waited_gets_no_lock(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    held = (await master.api.post("/locks/tasks:k/acquire")).json
    async with inside(master, worker, work) as api:
        waiting = asyncio.create_task(api.post("/locks/tasks:k/acquire", {"waitSeconds": 14}))
        await standing(master)
        await worker.end(work)
        assert (await master.api.post("/locks/tasks:k/release", {"token": held["token"]})).status == 200
        told = await waiting
    assert (told.status, told.code) == (409, "stale_attempt")
    assert (await master.api.get("/locks")).json == []


async def test_what_nobody_signed_is_unknown(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    await add_token(master, Role.ADMIN)
    assert worker.welcome is not None and worker.welcome.task_key is not None
    key = bytes.fromhex(worker.welcome.task_key)
    good = credential(worker, work.key)
    for secret in (
        good.replace("podling_task_", "podling_task_0", 1),
        good[:-1] + "2",  # as another node
        make_credential(bytes(32), work.key, "node-1"),
        make_credential(key, work.key, "node-2"),
        good.replace(".1.", ".2.", 1),
        "podling_task_",
        "podling_task_x.y.z.w",
        "podling_task_" + "." * 600,
    ):
        async with showing(master, secret) as api:
            answer = await api.get(f"/tasks/{work.task_id}/checkpoints")
            assert (answer.status, answer.code) == (401, "unknown_token"), secret
    future = make_credential(key, AttemptKey(task_id=work.task_id, attempt=2), "node-1")
    async with showing(master, future) as api:
        answer = await api.post(f"/tasks/{work.task_id}/checkpoints", {"data": 1})
        assert (answer.status, answer.code) == (409, "stale_attempt")


async def test_tasks_have_keys_of_their_own_in_coordination(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    async with inside(master, worker, work) as api:
        held = (await api.post("/locks/tasks:k/acquire", {"ttlSeconds": 30})).json
        assert held["key"] == "tasks:k"
        assert (await api.post("/locks/tasks:k/release", {"token": held["token"]})).status == 200
        assert (await api.put("/cache/tasks:k", {"value": [1]})).status == 201
        assert (await api.get("/cache/tasks:k")).json["value"] == [1]
        assert (await api.post("/breakers/tasks:k/failure")).json["failureCount"] == 1
        assert (await api.post("/idempotency/tasks:k/claim")).json["status"] == "claimed"
        for method, path in (
            ("POST", "/locks/k/acquire"),
            ("GET", "/cache/k"),
            ("PUT", "/cache/task:k"),
            ("POST", "/breakers/registry/success"),
            ("POST", "/idempotency/k/claim"),
            ("GET", "/locks/%20tasks:k"),
        ):
            answer = await api.call(method, path, {"value": 1} if method == "PUT" else None)
            assert (answer.status, answer.code) == (403, "key_not_for_tasks"), path
    assert (await master.api.get("/locks")).json == []
    assert (await master.api.get("/cache")).json == ["tasks:k"]


async def test_people_remove_checkpoints(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    path = f"/tasks/{work.task_id}/checkpoints"
    async with inside(master, worker, work) as api:
        for number in range(4):
            await api.post(path, {"data": number})
        assert (await master.api.delete(f"{path}?keep=1")).json == {"removed": 3}
        assert [kept["data"] for kept in (await master.api.get(path)).json] == [3]
        assert (await master.api.delete(path)).json == {"removed": 1}
        assert (await api.post(path)).json["sequence"] == 5
    assert (await master.api.delete(f"{path}?keep=-1")).field == "keep"
    assert (await master.api.delete("/tasks/none/checkpoints")).code == "task_not_found"


async def test_of_very_many_the_last_are_kept(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    path = f"/tasks/{work.task_id}/checkpoints"
    async with inside(master, worker, work) as api:
        for _ in range(4):
            await asyncio.gather(*(api.post(path, {"data": 1}) for _ in range(26)))
    page = await master.api.get(path)
    kept = page.json
    while "X-Next-Cursor" in page.headers:
        page = await master.api.get(path, cursor=page.headers["X-Next-Cursor"])
        kept += page.json
    assert [one["sequence"] for one in kept] == list(range(104, 4, -1))


async def test_checkpoints_go_with_their_task(master: RunningMaster) -> None:
    worker = await master.worker()
    work = await started(master, worker)
    async with inside(master, worker, work) as api:
        await api.post(f"/tasks/{work.task_id}/checkpoints", {"data": 1})
    await worker.end(work)
    context = master.server.context
    assert await context.coordination.checkpoints.load_latest(work.task_id) is not None
    await context.store.maintain(timedelta(0))
    assert (await master.api.get(f"/tasks/{work.task_id}")).status == 404
    assert await context.coordination.checkpoints.load_latest(work.task_id) is None
    assert (await context.coordination.checkpoints.save(work.task_id, attempt=1)).sequence == 1


async def test_an_older_worker_is_told_no_key(master: RunningMaster) -> None:
    worker = await master.worker("node-old", protocol_version=1)
    assert worker.welcome is not None and worker.welcome.task_key is None
