"""Every route that a program needs has a typed method, and real masters answer as the types say."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podling.client import AsyncClient, Client, TaskHandle, events
from podling.client.blocking_face import Face
from podling.client.call import Call, Request
from podling.client.program import Link, Program, Send
from podling.core.errors import Conflict, InvalidInput, NotFound, Unauthorized
from podling.wire.events import END
from podling.wire.openapi.document import described
from tests.cli.masters import running_master
from tests.client.threaded import Blocking

FOR_WORKERS_AND_PROBES = {
    *("POST /api/v1/join", "POST /api/v1/nodes/register", "PUT /api/v1/tasks/{id}/status"),
    *(
        f"POST /api/v1/nodes/{{id}}/{verb}"
        for verb in ("heartbeat", "deregister", "tails", "facts", "credential")
    ),
    *("GET /api/v1/nodes/{id}/session", "GET /api/v1/streams/{secret}", "GET /api/v1/ca.pem"),
    *("GET /health", "GET /api/v1/health", "GET /ready", "GET /metrics", "GET /openapi.json", "GET /docs"),
}


class Asked(BaseException):
    """Carries the first request of a method out of it."""

    def __init__(self, request: Request) -> None:
        self.request = request


class Asking(Face):
    """A client without a network: whatever is asked ends in Asked."""

    def __init__(self) -> None:
        self.link = Link(addresses=("http://a",))

    def perform(self, steps: Program[Any]) -> Any:
        effect = next(steps)
        assert isinstance(effect, Send)
        raise Asked(effect.request)

    def stream(self, call: Call[Any], *, silence_seconds: float = 30.0) -> Any:
        raise Asked(call.request)


def task(client: Face) -> TaskHandle:
    return TaskHandle(client, {"taskId": "x", "name": "x", "status": "completed", "attempt": 1})  # type: ignore[typeddict-item]


METHODS: dict[str, Callable[[Face], Any]] = {
    "POST /api/v1/tasks": lambda client: client.run("x", image="box"),
    "POST /api/v1/tasks:batch": lambda client: client.submit_many([{"name": "x"}]),
    "GET /api/v1/tasks": lambda client: next(client.tasks()),
    "GET /api/v1/tasks/{id}": lambda client: task(client).refresh(),
    "GET /api/v1/tasks/{id}/parents": lambda client: next(task(client).parents()),
    "GET /api/v1/tasks/{id}/attempts": lambda client: next(task(client).attempts()),
    "GET /api/v1/tasks/{id}/timeline": lambda client: next(task(client).timeline()),
    "GET /api/v1/tasks/{id}/explain": lambda client: task(client).explain(),
    "GET /api/v1/tasks/{id}/logs": lambda client: task(client).output(),
    "POST /api/v1/tasks/{id}/cancel": lambda client: task(client).cancel(),
    "POST /api/v1/tasks/{id}/retry": lambda client: task(client).retry(),
    "POST /api/v1/tasks/{id}/resolve": lambda client: task(client).resolve("retry"),
    "POST /api/v1/tasks/{id}/replay": lambda client: task(client).replay(),
    "GET /api/v1/dlq": lambda client: next(client.dead_letters()),
    "POST /api/v1/dlq/replay": lambda client: client.replay_dead_letters(),
    "POST /api/v1/dlq/dismiss": lambda client: client.dismiss_dead_letters(),
    "POST /api/v1/tasks/{id}/dismiss": lambda client: client.dismiss("x"),
    "GET /api/v1/nodes": lambda client: next(client.nodes()),
    "GET /api/v1/nodes/{id}": lambda client: client.node("x"),
    "POST /api/v1/nodes/{id}/cordon": lambda client: client.cordon("x"),
    "POST /api/v1/nodes/{id}/uncordon": lambda client: client.uncordon("x"),
    "POST /api/v1/nodes/{id}/drain": lambda client: client.drain("x"),
    "DELETE /api/v1/nodes/{id}": lambda client: client.remove_node("x"),
    "DELETE /api/v1/nodes/{id}/credential": lambda client: client.revoke_node("x"),
    "GET /api/v1/queues": lambda client: next(client.queues()),
    "GET /api/v1/queues/{id}": lambda client: client.queue("x"),
    "PUT /api/v1/queues/{id}": lambda client: client.save_queue("x", maxInFlight=1),
    "DELETE /api/v1/queues/{id}": lambda client: client.remove_queue("x"),
    "POST /api/v1/queues/{id}/pause": lambda client: client.pause_queue("x"),
    "POST /api/v1/queues/{id}/resume": lambda client: client.resume_queue("x"),
    "GET /api/v1/alerts": lambda client: client.alerts(),
    "GET /api/v1/alerts/{id}": lambda client: client.alert("x"),
    "PUT /api/v1/alerts/{id}": lambda client: client.save_alert("x", command="page"),
    "DELETE /api/v1/alerts/{id}": lambda client: client.remove_alert("x"),
    "POST /api/v1/alerts/{id}/test": lambda client: client.test_alert("x"),
    "GET /api/v1/locks": lambda client: next(client.locks()),
    "GET /api/v1/locks/{key}": lambda client: client.find_lock("x"),
    "POST /api/v1/locks/{key}/acquire": lambda client: client.lock("x").acquire(),
    "POST /api/v1/locks/{key}/extend": lambda client: client.extend_lock("x", 1),
    "POST /api/v1/locks/{key}/release": lambda client: client.release_lock("x", 1),
    "DELETE /api/v1/locks/{key}": lambda client: client.force_release_lock("x"),
    "GET /api/v1/breakers": lambda client: next(client.breakers()),
    "GET /api/v1/breakers/{key}": lambda client: client.breaker("x").state(),
    "PUT /api/v1/breakers/{key}": lambda client: client.breaker("x").set_state("open"),
    "POST /api/v1/breakers/{key}/failure": lambda client: client.breaker("x").record_failure(),
    "POST /api/v1/breakers/{key}/success": lambda client: client.breaker("x").record_success(),
    "POST /api/v1/breakers/{key}/allow": lambda client: client.breaker("x").allow(),
    "GET /api/v1/cache": lambda client: next(client.cache.keys()),
    "DELETE /api/v1/cache": lambda client: client.cache.clear(),
    "GET /api/v1/cache:statistics": lambda client: client.cache.statistics(),
    "POST /api/v1/cache:prune": lambda client: client.cache.prune(),
    "GET /api/v1/cache/{key}": lambda client: client.cache.get("x"),
    "PUT /api/v1/cache/{key}": lambda client: client.cache.set("x", 1),
    "DELETE /api/v1/cache/{key}": lambda client: client.cache.delete("x"),
    "POST /api/v1/idempotency/{key}/claim": lambda client: client.idempotency.claim("x"),
    "PUT /api/v1/idempotency/{key}": lambda client: client.idempotency.set("x", 1),
    "GET /api/v1/idempotency/{key}": lambda client: client.idempotency.get("x"),
    "DELETE /api/v1/idempotency/{key}": lambda client: client.idempotency.delete("x"),
    "GET /api/v1/tasks/{id}/checkpoints": lambda client: next(client.checkpoints.of("x")),
    "POST /api/v1/tasks/{id}/checkpoints": lambda client: client.checkpoints.save("x", 1),
    "DELETE /api/v1/tasks/{id}/checkpoints": lambda client: client.checkpoints.delete_all("x"),
    "PUT /api/v1/tasks/{id}/progress": lambda client: client.checkpoints.say_progress("x", 1),
    "PUT /api/v1/tasks/{id}/result": lambda client: client.checkpoints.say_result("x", 1),
    "GET /api/v1/cluster": lambda client: client.masters(),
    "GET /api/v1/metrics": lambda client: client.metrics(),
    "GET /api/v1/doctor": lambda client: client.doctor(),
    "GET /api/v1/events": lambda client: client.events(),
    "POST /api/v1/tokens": lambda client: client.create_token("x", "reader"),
    "GET /api/v1/tokens": lambda client: next(client.tokens()),
    "DELETE /api/v1/tokens/{id}": lambda client: client.revoke_token("x"),
    "GET /api/v1/audit": lambda client: next(client.audit()),
    "GET /api/v1/policy": lambda client: client.policy(),
    "POST /api/v1/schedules": lambda client: client.create_schedule(
        "x", cron="@daily", task={"image": "box"}
    ),
    "POST /api/v1/workflows": lambda client: client.submit_workflow("x", [{"key": "a", "image": "b"}]),
    "GET /api/v1/workflows": lambda client: next(client.workflows()),
    "GET /api/v1/workflows/{id}": lambda client: client.workflow("x"),
    "POST /api/v1/workflows/{id}/cancel": lambda client: client.cancel_workflow("x"),
    "GET /api/v1/schedules": lambda client: next(client.schedules()),
    "GET /api/v1/schedules/{id}": lambda client: client.schedule("x"),
    "PUT /api/v1/schedules/{id}": lambda client: client.replace_schedule("x", cron="@daily", task={}),
    "DELETE /api/v1/schedules/{id}": lambda client: client.remove_schedule("x"),
    "GET /api/v1/schedules/{id}/fires": lambda client: next(client.fires("x")),
    "POST /api/v1/schedules/{id}/pause": lambda client: client.pause_schedule("x"),
    "POST /api/v1/schedules/{id}/resume": lambda client: client.resume_schedule("x"),
    "POST /api/v1/schedules/{id}/run": lambda client: client.run_schedule("x"),
    "GET /api/v1/decisions": lambda client: next(client.decisions()),
    "GET /api/v1/ingest/decisions": lambda client: next(client.decisions(incoming=True)),
}


def test_every_route_that_a_program_needs_has_a_method() -> None:
    assert set(METHODS) == set(described()) - FOR_WORKERS_AND_PROBES


@pytest.mark.parametrize("route", METHODS)
def test_a_method_asks_for_its_route(route: str) -> None:
    with pytest.raises(Asked) as caught:
        METHODS[route](Asking())
    asked = f"{caught.value.request.method} /api/v1{caught.value.request.path.replace('%3A', ':')}"
    assert re.fullmatch(route.replace("{id}", "x").replace("{key}", "x"), asked)


@pytest.fixture(params=[Blocking, AsyncClient], ids=["blocking", "asynchronous"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def url() -> Iterator[str]:
    with running_master("memory") as address:
        yield address


async def test_an_operator_looks_around_and_lets_others_in(make: Any, url: str) -> None:
    async with make(url) as client:
        assert [(await client.cluster())["leader"]] == [one["masterId"] for one in await client.masters()]
        assert (await client.metrics())["rates"]["submitted"] == 0
        assert (await client.doctor("master"))["scope"] == "master"
        assert (await client.policy())["problem"] is None
        with pytest.raises(NotFound):
            await client.cordon("nobody")
        with pytest.raises(InvalidInput):
            await client.run("no image")
        assert [made["code"] async for made in client.decisions(incoming=True, limit=1)] == []
        admin = await client.create_token("me")
    async with make(url, token=admin["token"]) as client:
        reader = await client.create_token("ci", "reader", expires_seconds=60)
        assert [token["name"] async for token in client.tokens(page=1)] == ["ci", "me"]
        assert (await client.revoke_token(reader["tokenId"]))["revokedAt"] is not None
        entries = [entry async for entry in client.audit(action="POST", limit=2)]
        assert [entry["route"] for entry in entries] == ["/api/v1/tokens"] * 2
        with pytest.raises(Conflict):
            await client.create_token("me", "reader")


async def test_what_happens_after_events_were_asked_for_is_told(make: Any, url: str) -> None:
    async with make(url) as client:
        async with await client.events(types=["task.submitted"]) as happened:
            await client.run("first", image="box")
            first = await anext(aiter(happened))
        await client.run("second", image="box")
        async with await client.events(queue="default", last_id=first["id"]) as happened:
            assert (await anext(aiter(happened)))["name"] == "second"
    assert (first["type"], first["name"]) == ("task.submitted", "first")


async def test_a_stream_of_events_ends_with_its_token_and_says_so(make: Any, url: str) -> None:
    async with make(url) as client:
        admin = await client.create_token("me")
    async with make(url, token=admin["token"]) as client:
        reader = await client.create_token("ci", "reader")
        async with make(url, token=reader["token"]) as other:
            chunks = other.stream(events.follow(), silence_seconds=20.0)
            assert (await anext(chunks)).startswith(b": alive")
            async with await other.events() as happened:
                await client.revoke_token(reader["tokenId"])
                with pytest.raises(Unauthorized) as caught:
                    await anext(aiter(happened))
            assert caught.value.code == "token_ended"
            last = [chunk async for chunk in chunks]  # it ends well, and does not break off
    assert last[-1].startswith(f"event: {END}\n".encode())
    assert END == events.END


def test_the_blocking_client_is_closed_like_the_other_and_can_be_used_on(url: str) -> None:
    with Client(url) as client:
        happened = iter(client.events())
        client.run("hello", image="box")
        assert next(happened)["type"] == "task.submitted"
        happened.close()
    client.close()
    assert client.cluster()["version"]
