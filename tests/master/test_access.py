"""Who is let in."""

import pytest
from multidict import CIMultiDict

from tests.master.fake_worker import FakeWorker
from tests.master.masters import Api, Masters

TOKEN = "correct-horse-battery-staple"


async def test_health_and_readiness_are_open(masters: Masters) -> None:
    master = await masters.start(token=TOKEN)
    stranger = Api(master.url)
    try:
        health, ready = await stranger.get("//health"), await stranger.get("//ready")
        assert (health.status, health.json) == (200, {"status": "ok"})
        cluster_id = master.server.context.cluster_id
        assert (ready.status, ready.json) == (
            200,
            {"status": "ready", "leader": True, "clusterId": cluster_id},
        )
        for method, path in [
            ("GET", "/tasks"),
            ("POST", "/tasks"),
            ("GET", "/nodes"),
            ("GET", "/cluster"),
            ("GET", "/nodes/node-1/session"),
            ("GET", "/streams/x"),
            ("GET", "//nowhere"),
            ("PATCH", "/tasks"),
        ]:
            answer = await stranger.call(method, path)
            assert (answer.status, answer.code) == (401, "unauthorized"), (method, path)
            assert TOKEN not in answer.text
    finally:
        await stranger.close()


@pytest.mark.parametrize(
    "headers, status",
    [
        ([("Authorization", f"Bearer {TOKEN}")], 200),
        ([("authorization", f"bearer  {TOKEN}")], 200),
        ([("x-api-key", TOKEN)], 200),
        ([("X-Api-Key", TOKEN), ("Authorization", f"Bearer {TOKEN}")], 200),
        ([], 401),
        ([("Authorization", "Bearer")], 401),
        ([("Authorization", "Bearer ")], 401),
        ([("Authorization", TOKEN)], 401),
        ([("Authorization", f"Basic {TOKEN}")], 401),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([("Authorization", f"Bearer {TOKEN}x")], 401),
        ([("Authorization", f"Bearer {TOKEN.upper()}")], 401),
        ([("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")], 401),
        ([("Authorization", f"Bearer {TOKEN}"), ("x-api-key", "other")], 401),
        ([("x-api-key", "")], 401),
        ([("x-api-key", "\u00e4\u20ac")], 401),
    ],
)
async def test_the_token_is_wanted_whole(
    masters: Masters, headers: list[tuple[str, str]], status: int
) -> None:
    master = await masters.start(token=TOKEN)
    stranger = Api(master.url)
    try:
        answer = await stranger.call("GET", "/tasks", headers=CIMultiDict(headers))
        assert answer.status == status
    finally:
        await stranger.close()


async def test_without_a_token_everybody_is_let_in(masters: Masters) -> None:
    master = await masters.start()
    assert (await master.api.get("/tasks")).status == 200


async def test_workers_show_the_token_too(masters: Masters) -> None:
    master = await masters.start(token=TOKEN)
    worker = await master.worker()
    task = await master.api.submit()
    await worker.assigned(task["taskId"])
    stranger = FakeWorker(master.url, "node-2")
    try:
        with pytest.raises(Exception, match="401"):
            await stranger.connect()
    finally:
        await stranger.close()
    assert [node["nodeId"] for node in (await master.api.get("/nodes")).json] == ["node-1"]
