"""Workflows over HTTP, on both stores: a whole graph in one commit, its progress, its cancel."""

from typing import Any

import pytest

from podling.core.errors import StoreUnavailable
from tests.master.masters import Answer, Masters, RunningMaster, task_body

IMAGE = {"image": "busybox:local"}


def task(key: str, *parents: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "dependsOn": [{"key": parent} for parent in parents]} | IMAGE | fields


async def submit(master: RunningMaster, *tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await master.api.post("/workflows", {"name": "nightly", "tasks": list(tasks)} | fields)
    assert answer.status == 201, answer.text
    return dict(answer.json)


def by_key(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["key"]: item for item in workflow["tasks"]}


async def shown(master: RunningMaster, workflow: dict[str, Any]) -> dict[str, Any]:
    answer = await master.api.get(f"/workflows/{workflow['workflowId']}")
    assert answer.status == 200, answer.text
    return dict(answer.json)


async def test_a_graph_runs_in_its_order_and_shows_how_far_it_is(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    made = await submit(master, task("report", "load"), task("extract"), task("load", "extract"))
    assert (made["name"], made["status"]) == ("nightly", "pending")
    assert [item["key"] for item in made["tasks"]] == ["report", "extract", "load"]
    keys = by_key(made)
    assert keys["load"]["dependsOn"] == [{"key": "extract", "when": "success"}]
    for key in ("extract", "load", "report"):
        work = await worker.assigned(keys[key]["taskId"])
        assert work.spec.name == key
        await worker.start(work)
        assert (await shown(master, made))["status"] == "running"
        await worker.end(work)
    assert len(worker.assignments) == 3
    done = await shown(master, made)
    assert (done["status"], done["counts"]) == ("completed", {"completed": 3})
    listed = (await master.api.get("/workflows")).json
    assert [(item["workflowId"], item["status"]) for item in listed] == [(made["workflowId"], "completed")]


async def test_a_failed_task_ends_what_follows_and_its_handler_runs(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    made = await submit(
        master,
        task("build"),
        task("ship", "build"),
        task("tell", "ship"),
        task("clean", dependsOn=[{"key": "build", "when": "failure"}]),
    )
    keys = by_key(made)
    await worker.end(await worker.assigned(keys["build"]["taskId"]), exit_code=1)
    await worker.end(await worker.assigned(keys["clean"]["taskId"]))
    await master.until_status(keys["tell"]["taskId"], "cancelled")
    await master.until_status(keys["clean"]["taskId"], "completed")
    ended = await shown(master, made)
    assert (ended["status"], ended["counts"]) == ("failed", {"failed": 1, "cancelled": 2, "completed": 1})
    assert by_key(ended)["ship"]["errorCode"] == "DEPENDENCY_UNMET"


async def test_a_cancel_ends_all_that_has_not_ended(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    made = await submit(master, task("first"), task("second", "first"), task("third", "second"))
    await worker.end(await worker.assigned(by_key(made)["first"]["taskId"]))
    work = await worker.assigned(by_key(made)["second"]["taskId"])
    answer = await master.api.post(f"/workflows/{made['workflowId']}/cancel")
    assert answer.status == 200
    assert by_key(answer.json)["third"]["status"] == "cancelled"
    await worker.end(work, exit_code=None, error_code="SIGNAL")
    await master.until_status(by_key(made)["second"]["taskId"], "cancelled")
    ended = await shown(master, made)
    assert (ended["status"], ended["counts"]) == ("cancelled", {"completed": 1, "cancelled": 2})
    again = await master.api.post(f"/workflows/{made['workflowId']}/cancel")
    assert (again.status, again.json["status"]) == (200, "cancelled")


async def test_an_array_knows_its_places_and_keeps_its_cap(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    made = await submit(
        master, task("work", array={"count": 6, "maxParallel": 2}), task("sum", "work"), task("other")
    )
    assert [item["arrayIndex"] for item in made["tasks"]] == [0, 1, 2, 3, 4, 5, None, None]
    ids = {item["taskId"]: item["arrayIndex"] for item in made["tasks"] if item["key"] == "work"}
    other = by_key(made)["other"]["taskId"]
    seen: dict[str, str] = {}
    for ended in range(6):
        at_once = min(2, 6 - ended)
        works = await worker.until(
            lambda ended=ended, at_once=at_once: (
                (found := [work for work in worker.assignments if work.task_id in ids])
                and len(found) >= ended + at_once
                and found
            ),
            "the next of the array",
        )
        assert len(works) - ended <= 2
        work = works[ended]
        seen[work.task_id] = work.environment["PODLING_ARRAY_INDEX"]
        assert work.environment["PODLING_ARRAY_COUNT"] == "6"
        await worker.end(work)
    assert seen == {task_id: str(index) for task_id, index in ids.items()}
    assert "PODLING_ARRAY_INDEX" not in (await worker.assigned(other)).environment
    await worker.assigned(by_key(made)["sum"]["taskId"])
    one = await master.api.task(next(iter(ids)))
    assert one["array"] == {"index": 0, "count": 6, "maxParallel": 2}


async def test_a_dependent_reads_what_its_parents_left(master: RunningMaster) -> None:
    worker = await master.worker(slots=9)
    made = await submit(
        master, task("work", array={"count": 3}), task("sum", dependsOn=[{"key": "work", "when": "always"}])
    )
    ids = [item["taskId"] for item in made["tasks"]]
    for number, task_id in enumerate(ids[:3]):
        await worker.end(await worker.assigned(task_id), exit_code=number)
    await worker.assigned(ids[3])
    first = await master.api.get(f"/tasks/{ids[3]}/parents", limit=2)
    rest = await master.api.get(f"/tasks/{ids[3]}/parents", limit=2, cursor=first.headers["X-Next-Cursor"])
    assert "X-Next-Cursor" not in rest.headers
    parents = first.json + rest.json
    assert [parent["taskId"] for parent in parents] == ids[:3]
    assert parents[1] == {
        "taskId": ids[1],
        "when": "always",
        "name": "work-1",
        "arrayIndex": 1,
        "status": "failed",
        "exitCode": 1,
        "errorCode": "EXIT_CODE",
        "result": None,
    }
    assert (await master.api.get(f"/tasks/{ids[0]}/parents")).json == []
    assert (await master.api.get("/tasks/nobody/parents")).code == "task_not_found"


async def test_the_same_key_gives_the_same_workflow(master: RunningMaster) -> None:
    body = {"name": "nightly", "tasks": [task("a"), task("b", "a")]}
    headers = {"Idempotency-Key": "night-1"}
    first = await master.api.post("/workflows", body, headers=headers)
    again = await master.api.post("/workflows", body, headers=headers)
    assert (first.status, again.status) == (201, 200)
    assert again.json["workflowId"] == first.json["workflowId"]
    other = await master.api.post("/workflows", body | {"name": "other"}, headers=headers)
    assert (other.status, other.code) == (409, "idempotency_mismatch")
    assert len((await master.api.get("/tasks")).json) == 2


async def test_a_lost_reply_makes_no_second_workflow(masters: Masters) -> None:
    master = await masters.start()
    store = master.server.context.store
    real = store.commit

    async def lost(batch: Any) -> Any:
        store.commit = real  # type: ignore[method-assign]
        await real(batch)
        raise StoreUnavailable("the reply was lost")

    store.commit = lost  # type: ignore[method-assign]
    body = {"name": "nightly", "tasks": [task("a"), task("b", "a")], "idempotencyKey": "k"}
    assert (await master.api.post("/workflows", body)).status == 503
    again = await master.api.post("/workflows", body)
    assert again.status == 200, again.text
    assert len((await master.api.get("/tasks")).json) == 2


async def test_an_array_does_not_make_gigabytes_of_what_was_sent(master: RunningMaster) -> None:
    """One body of a megabyte, kept a thousand times, would hold up the master for half a minute."""
    large = {"key": "a", "runtime": "python", "handler": "h", "payload": "x" * 20_000}
    for count, status in ((1000, 413), (500, 201)):
        tasks = [large | {"array": {"count": count}}]
        answer = await master.api.post("/workflows", {"name": "n", "tasks": tasks})
        assert answer.status == status, answer.text
    assert len((await master.api.get("/workflows")).json) == 1


async def test_what_the_door_refuses_of_one_task_refuses_all(master: RunningMaster) -> None:
    await master.api.put("/queues/small", {"maxPayloadBytes": 200})
    large = task("b", "a", queue="small", env={"TEXT": "x" * 500})
    answer = await master.api.post("/workflows", {"name": "n", "tasks": [task("a"), large]})
    assert (answer.status, answer.code) == (413, "payload_too_large")
    denied = task("b", "a", privileged=True)
    answer = await master.api.post("/workflows", {"name": "n", "tasks": [task("a"), denied]})
    assert (answer.status, answer.code) == (403, "policy_denied")
    assert (await master.api.get("/tasks")).json == []
    assert (await master.api.get("/workflows")).json == []
    doors = {item["door"] for item in (await master.api.get("/ingest/decisions")).json}
    assert doors == {"workflow"}


async def test_a_page_has_a_hundred_workflows_at_most(master: RunningMaster) -> None:
    for number in range(101):
        await submit(master, task("a"), name=f"n{number}")
    first = await master.api.get("/workflows", limit=500)
    rest = await master.api.get("/workflows", cursor=first.headers["X-Next-Cursor"])
    assert (len(first.json), [item["name"] for item in rest.json]) == (100, ["n0"])


async def test_what_was_read_can_be_posted_again_but_for_its_tasks_states(master: RunningMaster) -> None:
    for number in range(3):
        await submit(master, task("a"), name=f"n{number}")
    first = await master.api.get("/workflows", limit=2)
    assert [item["name"] for item in first.json] == ["n2", "n1"]
    rest = await master.api.get("/workflows", limit=2, cursor=first.headers["X-Next-Cursor"])
    assert [item["name"] for item in rest.json] == ["n0"]
    assert (await master.api.get("/workflows/nobody")).code == "workflow_not_found"
    assert (await master.api.post("/workflows/nobody/cancel")).status == 404


A = task("a")
BAD: dict[str, tuple[Any, str, str]] = {
    "cycle": ({"tasks": [task("a", "c"), task("b", "a"), task("c", "b")]}, "cycle", "a → b → c → a"),
    "itself": ({"tasks": [task("a", "a")]}, "cycle", "a → a"),
    "missing": ({"tasks": [task("a", "b")]}, "invalid_field", "tasks.0.dependsOn.0.key: there is no task"),
    "doubled key": ({"tasks": [A, A]}, "invalid_field", "has the key a twice"),
    "doubled parent": ({"tasks": [A, task("b", "a", "a")]}, "invalid_field", "names a twice"),
    "none": ({"tasks": []}, "invalid_field", "tasks"),
    "no tasks": ({}, "invalid_field", "tasks"),
    "no name": ({"name": None, "tasks": [A]}, "invalid_field", "name: is required"),
    "empty name": ({"name": "", "tasks": [A]}, "invalid_field", "name"),
    "no key": ({"tasks": [task_body()]}, "invalid_field", "tasks.0.key: is required"),
    "bad key": ({"tasks": [task("a b")]}, "invalid_field", "tasks.0.key"),
    "no object": ({"tasks": ["a"]}, "invalid_json", "tasks.0: must be a JSON object"),
    "an id": (
        {"tasks": [task("a", dependsOn=[{"taskId": "x"}])]},
        "invalid_field",
        "dependsOn.0.key: is required",
    ),
    "image": ({"tasks": [task("a", image="-v")]}, "invalid_field", "image"),
    "unknown": ({"tasks": [task("a", colour=1)]}, "unknown_field", "tasks.0.colour"),
    "unknown too": ({"tasks": [A], "colour": 1}, "unknown_field", "colour"),
    "own key": ({"tasks": [task("a", idempotencyKey="k")]}, "invalid_field", "tasks.0.idempotencyKey"),
    "no array": ({"tasks": [task("a", array={"count": 0})]}, "invalid_field", "tasks.0.array.count"),
    "long array": ({"tasks": [task("a", array={"count": 10_000})]}, "invalid_field", "tasks.0.array.count"),
    "true": ({"tasks": [task("a", array={"count": True})]}, "invalid_field", "tasks.0.array.count"),
    "two caps": (
        {"tasks": [task("a", array={"count": 2, "maxParallel": 1}, concurrencyKey="k")]},
        "invalid_field",
        "tasks.0.array.maxParallel",
    ),
    "too many": ({"tasks": [task(f"t{number}") for number in range(1001)]}, "invalid_field", "tasks"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", BAD)
async def test_a_graph_that_cannot_be_is_refused_whole(shared_master: RunningMaster, name: str) -> None:
    given, code, words = BAD[name]
    answer: Answer = await shared_master.api.post("/workflows", {"name": "n"} | given)
    assert (answer.status, answer.code) == (400, code), answer.text
    assert words in answer.json["error"]
    assert (await shared_master.api.get("/workflows")).json == []
    assert (await shared_master.api.get("/tasks")).json == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_single_task_has_no_array(shared_master: RunningMaster) -> None:
    answer = await shared_master.api.post("/tasks", task_body(array={"count": 3}))
    assert (answer.status, answer.field) == (400, "array")
    assert "/api/v1/workflows" in answer.json["error"]
