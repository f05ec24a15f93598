"""Every route has a role, and lets in whom that role includes: nobody else."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from podling.core.access import Role
from podling.core.errors import Unauthorized
from podling.kit.clock import SystemClock
from podling.kit.connection import STAMP
from podling.master.context import MasterOptions
from podling.master.server import MasterServer, application
from podling.store.memory.store import MemoryStore
from podling.worker.line import dial
from tests.master.masters import Masters, RunningMaster
from tests.master.tokens import add_token, showing

OPEN = frozenset(Role)
READ = frozenset({Role.READER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN})
SUBMIT = READ - {Role.READER}
OPERATE = SUBMIT - {Role.SUBMITTER}
ADMINISTER = frozenset({Role.ADMIN})
WORK = frozenset({Role.WORKER})
INSIDE = frozenset({Role.TASK})

ROUTES: dict[tuple[str, str], frozenset[Role]] = {
    ("GET", "/health"): OPEN,
    ("GET", "/ready"): OPEN,
    ("GET", "/api/v1/health"): OPEN,
    ("GET", "/api/v1/tasks"): READ,
    ("POST", "/api/v1/tasks"): SUBMIT,
    ("POST", "/api/v1/tasks:batch"): SUBMIT,
    ("GET", "/api/v1/tasks/{id}"): READ,
    ("GET", "/api/v1/tasks/{id}/attempts"): READ,
    ("GET", "/api/v1/tasks/{id}/parents"): READ | {Role.TASK},
    ("GET", "/api/v1/tasks/{id}/timeline"): READ,
    ("GET", "/api/v1/tasks/{id}/explain"): READ,
    ("GET", "/api/v1/tasks/{id}/logs"): READ,
    ("POST", "/api/v1/tasks/{id}/cancel"): SUBMIT,
    ("POST", "/api/v1/tasks/{id}/retry"): SUBMIT,
    ("POST", "/api/v1/tasks/{id}/replay"): SUBMIT,
    ("POST", "/api/v1/tasks/{id}/dismiss"): SUBMIT,
    ("GET", "/api/v1/dlq"): READ,
    ("POST", "/api/v1/dlq/replay"): SUBMIT,
    ("POST", "/api/v1/dlq/dismiss"): SUBMIT,
    ("POST", "/api/v1/tasks/{id}/resolve"): OPERATE,
    ("PUT", "/api/v1/tasks/{id}/status"): WORK,
    ("GET", "/api/v1/nodes"): READ,
    ("GET", "/api/v1/nodes/{id}"): READ,
    ("DELETE", "/api/v1/nodes/{id}"): OPERATE,
    ("POST", "/api/v1/nodes/register"): WORK,
    ("POST", "/api/v1/nodes/{id}/heartbeat"): WORK,
    ("POST", "/api/v1/nodes/{id}/deregister"): OPERATE | WORK,
    ("POST", "/api/v1/nodes/{id}/cordon"): OPERATE,
    ("POST", "/api/v1/nodes/{id}/uncordon"): OPERATE,
    ("POST", "/api/v1/nodes/{id}/drain"): OPERATE,
    ("POST", "/api/v1/nodes/{id}/tails"): WORK,
    ("POST", "/api/v1/nodes/{id}/facts"): WORK,
    ("GET", "/api/v1/nodes/{id}/session"): WORK,
    ("GET", "/api/v1/streams/{secret}"): WORK,
    ("GET", "/api/v1/ca.pem"): OPEN,
    ("POST", "/api/v1/join"): frozenset({Role.JOIN}),
    ("POST", "/api/v1/nodes/{id}/credential"): WORK,
    ("DELETE", "/api/v1/nodes/{id}/credential"): OPERATE,
    ("GET", "/api/v1/locks"): READ,
    ("GET", "/api/v1/locks/{key}"): READ | INSIDE,
    ("POST", "/api/v1/locks/{key}/acquire"): SUBMIT | INSIDE,
    ("POST", "/api/v1/locks/{key}/extend"): SUBMIT | INSIDE,
    ("POST", "/api/v1/locks/{key}/release"): SUBMIT | INSIDE,
    ("DELETE", "/api/v1/locks/{key}"): OPERATE,
    ("GET", "/api/v1/breakers"): READ,
    ("GET", "/api/v1/breakers/{key}"): READ | INSIDE,
    ("PUT", "/api/v1/breakers/{key}"): SUBMIT,
    ("POST", "/api/v1/breakers/{key}/failure"): SUBMIT | INSIDE,
    ("POST", "/api/v1/breakers/{key}/success"): SUBMIT | INSIDE,
    ("POST", "/api/v1/breakers/{key}/allow"): SUBMIT | INSIDE,
    ("GET", "/api/v1/cache"): READ,
    ("DELETE", "/api/v1/cache"): OPERATE,
    ("GET", "/api/v1/cache:statistics"): READ,
    ("POST", "/api/v1/cache:prune"): OPERATE,
    ("GET", "/api/v1/cache/{key}"): READ | INSIDE,
    ("PUT", "/api/v1/cache/{key}"): SUBMIT | INSIDE,
    ("DELETE", "/api/v1/cache/{key}"): SUBMIT | INSIDE,
    ("POST", "/api/v1/idempotency/{key}/claim"): SUBMIT | INSIDE,
    ("PUT", "/api/v1/idempotency/{key}"): SUBMIT | INSIDE,
    ("GET", "/api/v1/idempotency/{key}"): READ | INSIDE,
    ("DELETE", "/api/v1/idempotency/{key}"): SUBMIT | INSIDE,
    ("GET", "/api/v1/tasks/{id}/checkpoints"): READ | INSIDE,
    ("POST", "/api/v1/tasks/{id}/checkpoints"): INSIDE,
    ("DELETE", "/api/v1/tasks/{id}/checkpoints"): SUBMIT,
    ("PUT", "/api/v1/tasks/{id}/progress"): INSIDE,
    ("PUT", "/api/v1/tasks/{id}/result"): INSIDE,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/api/v1/cluster"): READ,
    ("GET", "/api/v1/doctor"): OPERATE,
    ("GET", "/api/v1/decisions"): READ,
    ("GET", "/api/v1/ingest/decisions"): READ,
    ("GET", "/api/v1/policy"): READ,
    ("GET", "/api/v1/events"): READ,
    ("GET", "/metrics"): READ,
    ("GET", "/api/v1/metrics"): READ,
    ("GET", "/api/v1/alerts"): READ,
    ("GET", "/api/v1/alerts/{id}"): READ,
    ("PUT", "/api/v1/alerts/{id}"): OPERATE,
    ("DELETE", "/api/v1/alerts/{id}"): OPERATE,
    ("POST", "/api/v1/alerts/{id}/test"): OPERATE,
    ("GET", "/api/v1/queues"): READ,
    ("GET", "/api/v1/queues/{id}"): READ,
    ("PUT", "/api/v1/queues/{id}"): OPERATE,
    ("DELETE", "/api/v1/queues/{id}"): OPERATE,
    ("POST", "/api/v1/queues/{id}/pause"): OPERATE,
    ("POST", "/api/v1/queues/{id}/resume"): OPERATE,
    ("POST", "/api/v1/workflows"): SUBMIT,
    ("GET", "/api/v1/workflows"): READ,
    ("GET", "/api/v1/workflows/{id}"): READ,
    ("POST", "/api/v1/workflows/{id}/cancel"): SUBMIT,
    ("GET", "/api/v1/schedules"): READ,
    ("POST", "/api/v1/schedules"): SUBMIT,
    ("GET", "/api/v1/schedules/{id}"): READ,
    ("PUT", "/api/v1/schedules/{id}"): SUBMIT,
    ("DELETE", "/api/v1/schedules/{id}"): SUBMIT,
    ("GET", "/api/v1/schedules/{id}/fires"): READ,
    ("POST", "/api/v1/schedules/{id}/pause"): SUBMIT,
    ("POST", "/api/v1/schedules/{id}/resume"): SUBMIT,
    ("POST", "/api/v1/schedules/{id}/run"): SUBMIT,
    ("GET", "/api/v1/tokens"): ADMINISTER,
    ("POST", "/api/v1/tokens"): ADMINISTER,
    ("DELETE", "/api/v1/tokens/{id}"): ADMINISTER,
    ("GET", "/api/v1/audit"): ADMINISTER,
}
"""Whoever adds a route writes here who may use it."""

ENDLESS = {"/api/v1/events": "?type=nothing"}
"""What makes an answer end that has none."""


def _router(master: RunningMaster) -> set[tuple[str, str]]:
    found = {
        (route.method, route.resource.canonical)
        for route in application(master.server).router.routes()
        if route.resource is not None
    }
    assert {path for method, path in found if method == "HEAD"} <= {
        path for method, path in found if method == "GET"
    }
    return {(method, path) for method, path in found if method != "HEAD"}


async def test_every_route_of_the_router_is_in_the_table(master: RunningMaster) -> None:
    assert _router(master) == set(ROUTES)


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_what_the_table_says_and_no_more(masters: Masters, role: Role) -> None:
    master = await masters.start()
    _, secret = await add_token(master, role)
    async with showing(master, secret) as api:
        for (method, path), allowed in ROUTES.items():
            for asked in (method, "HEAD") if method == "GET" else (method,):
                target = path.replace("{id}", "x").replace("{key}", "x").replace(
                    "{secret}", "x"
                ) + ENDLESS.get(path, "")
                answer = await api.call(asked, "/" + target)
                assert STAMP.items() <= answer.headers.items(), (asked, path)
                if role in allowed:
                    refused = answer.status in (401, 403) and answer.code != "attempt_needed"
                    assert not refused, (asked, path, answer.text)
                    continue
                assert answer.status == 403, (asked, path, answer.status)
                assert asked == "HEAD" or answer.code == "role_needed", answer.text


async def test_a_refusal_names_the_role_that_is_needed(master: RunningMaster) -> None:
    token, secret = await add_token(master, Role.READER)
    async with showing(master, secret) as api:
        answer = await api.post("/tasks", {})
        assert answer.json == {
            "error": f"this needs the role submitter, and the token {token.name} has reader",
            "code": "role_needed",
            "details": {"needed": "submitter", "held": "reader"},
        }


async def test_a_route_that_was_added_in_another_way_is_refused() -> None:
    options = MasterOptions(advertise_url="http://a.test", identity="a", master_id="a-1", version="0")
    app = application(MasterServer(options, MemoryStore(), SystemClock()))

    async def back_door(request: web.Request) -> web.Response:
        return web.Response(text="come in")

    app.router.add_get("/api/v1/back", back_door)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/api/v1/back")
        assert (answer.status, (await answer.json())["code"]) == (403, "no_role_listed")
        assert (await client.get("/api/v1/tasks")).status == 200


async def test_a_worker_may_not_give_up_what_is_on_a_node(master: RunningMaster) -> None:
    _, secret = await add_token(master, Role.WORKER)
    async with showing(master, secret) as api:
        for query in ("lost=true", "held=retry", "lost=false"):
            answer = await api.post(f"/nodes/node-1/deregister?{query}")
            assert (answer.status, answer.code) == (403, "role_needed"), query


async def test_a_simple_client_works_with_a_worker_s_token(master: RunningMaster) -> None:
    _, secret = await add_token(master, Role.WORKER)
    async with showing(master, secret) as api:
        registered = await api.post("/nodes/register", {"hostname": "h", "port": 8071, "capacity": 2})
        assert registered.status == 201
        node_id = registered.json["nodeId"]
        assert (await api.post(f"/nodes/{node_id}/heartbeat")).status == 200
        assert (await api.post(f"/nodes/{node_id}/deregister")).status == 200


async def test_a_worker_with_a_token_of_another_role_is_told_so(master: RunningMaster) -> None:
    _, secret = await add_token(master, Role.ADMIN)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as http:
        with pytest.raises(Unauthorized, match="podling token create NAME --role worker"):
            await dial(http, "node-1", master.url, 5.0)


async def test_a_node_s_credential_is_good_for_that_node_alone(master: RunningMaster) -> None:
    _, admin = await add_token(master, Role.ADMIN)
    _, secret = await add_token(master, Role.WORKER, node_id="node-1")
    async with showing(master, secret) as api, showing(master, admin) as admin_api:
        for path in ("heartbeat", "tails", "facts", "deregister"):
            answer = await api.post(f"/nodes/node-2/{path}", {})
            assert (answer.status, answer.code) == (403, "another_node"), path
            assert (await api.post(f"/nodes/node-1/{path}", {})).code not in ("another_node", "not_for_nodes")
        assert (await api.get("/nodes/node-2/session")).code == "another_node"
        refused = await api.post("/nodes/register", {"hostname": "h", "port": 1, "capacity": 2})
        assert (refused.status, refused.code) == (403, "not_for_nodes")
        task = (await admin_api.post("/tasks", {"name": "job", "image": "busybox:local"})).json
        answer = await api.put(f"/tasks/{task['taskId']}/status", {"status": "completed"})
        assert (answer.status, answer.code) == (403, "another_node")
        assert (await admin_api.task(task["taskId"]))["status"] == "pending"
