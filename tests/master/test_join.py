"""Machines that join, the credentials that they get, and what those are good for."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.logrecord import MOST_TAILS
from podling.core.token import TokenKind, hash_secret, make_secret
from podling.master.loops.retention import Retention
from podling.store.ports.tokens import TokenChanges
from podling.wire.openapi.nodes import OPERATIONS
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Answer, Api, Masters, RunningMaster, eventually
from tests.master.tokens import add_token, showing

TOKEN = "the-shared-token-of-all"


def drawn(number: int = 1) -> str:
    return make_secret(Role.WORKER, lambda bits: number)


async def join_token(master: RunningMaster, **more: Any) -> str:
    answer = await master.api.post("/tokens", {"name": f"join-{len(str(more))}", "role": "join"} | more)
    assert answer.status == 201, answer.text
    return str(answer.json["token"])


async def join(master: RunningMaster, token: str, node_id: str = "n1", secret: str | None = None) -> Answer:
    body = {"nodeId": node_id, "secretHash": hash_secret(secret or drawn())}
    async with showing(master, token) as api:
        return await api.post("/join", body)


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    return await masters.start(token=TOKEN)


async def connected(master: RunningMaster, secret: str, node_id: str = "n1") -> FakeWorker:
    worker = FakeWorker(master.url, node_id, token=secret)
    await worker.connect()
    return worker


async def test_a_machine_joins_once_and_works_with_a_credential_of_its_own(master: RunningMaster) -> None:
    token = await join_token(master)
    joined = await join(master, token)
    assert joined.status == 201, joined.text
    assert joined.json["nodeId"] == "n1"
    worker = await connected(master, drawn())
    try:
        task = await master.api.submit()
        await worker.assigned(task["taskId"])
    finally:
        await worker.close()
    used = await join(master, token, "n2", drawn(2))
    assert (used.status, used.code) == (403, "join_token_used")
    audit = (await master.api.get("/audit")).json
    assert [(entry["ids"], entry["outcome"]) for entry in audit if entry["route"] == "/api/v1/join"] == [
        ({"nodeId": "n2"}, "refused"),
        ({"nodeId": "n1"}, "done"),
    ]
    assert drawn() not in str(audit) and token not in str(audit)


async def test_a_lost_reply_is_asked_for_again(master: RunningMaster) -> None:
    token = await join_token(master)
    first, again = await join(master, token), await join(master, token)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    kinds = [item["kind"] for item in (await master.api.get("/tokens")).json]
    assert kinds.count("node") == 1


async def test_of_many_at_once_as_many_join_as_the_token_lets_in(master: RunningMaster) -> None:
    token = await join_token(master, uses=2)
    answers = await asyncio.gather(*(join(master, token, f"n{i}", drawn(i)) for i in range(5)))
    assert sorted(answer.status for answer in answers) == [201, 201, 403, 403, 403]


async def test_what_a_token_has_let_in_counts_also_when_it_is_gone(masters: Masters) -> None:
    master = await masters.start(token=TOKEN, keep_ended=timedelta(0))
    token = await join_token(master)
    await join(master, token)
    assert (await master.api.delete("/nodes/n1/credential")).status == 200
    await Retention(master.server.context).run_once()
    assert (await join(master, token, "n2", drawn(2))).code == "join_token_used"


async def test_a_join_token_that_has_ended_is_refused(master: RunningMaster) -> None:
    joins = {"kind": TokenKind.JOIN, "uses": 1}
    _, expired = await add_token(master, Role.JOIN, age=10.0, expires_at=5.0, **joins)
    _, revoked = await add_token(master, Role.JOIN, age=10.0, revoked_at=5.0, **joins)
    for secret, code in [
        (expired, "expired_token"),
        (revoked, "revoked_token"),
        (expired[:-1], "unknown_token"),
    ]:
        answer = await join(master, secret)
        assert (answer.status, answer.code) == (401, code)


async def test_another_token_does_not_let_a_machine_in(master: RunningMaster) -> None:
    shared = await join(master, TOKEN)
    assert (shared.status, shared.code) == (403, "no_join_token")
    for role in (Role.ADMIN, Role.WORKER, Role.OPERATOR):
        _, secret = await add_token(master, role)
        answer = await join(master, secret)
        assert (answer.status, answer.code) == (403, "role_needed")


async def test_a_join_token_is_good_for_joining_alone(master: RunningMaster) -> None:
    async with showing(master, await join_token(master)) as api:
        for method, path in [
            ("GET", "/tasks"),
            ("GET", "/nodes/n1/session"),
            ("POST", "/nodes/n1/credential"),
            ("POST", "/tokens"),
        ]:
            assert (await api.call(method, path)).code == "role_needed"


async def test_a_node_that_is_known_comes_back_with_a_token_made_for_it(master: RunningMaster) -> None:
    worker = await master.worker("n1")  # by the shared token, so far
    taken = await join(master, await join_token(master), "n1")
    assert (taken.status, taken.code) == (409, "node_exists")
    assert "--join --node n1" in taken.json["error"]
    bound = await join_token(master, nodeId="n1")
    other = await join(master, bound, "n2")
    assert (other.status, other.code) == (403, "another_node")
    assert (await join(master, bound, "n1")).status == 201
    assert not worker.closed


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nodeId": "n1"},
        {"nodeId": "../x", "secretHash": "ab" * 32},
        {"nodeId": "n" * 300, "secretHash": "ab" * 32},
        {"nodeId": 1, "secretHash": "ab" * 32},
        {"nodeId": "n1", "secretHash": "AB" * 32},
        {"nodeId": "n1", "secretHash": "ab" * 31},
        {"nodeId": "n1", "secretHash": 7},
        {"nodeId": "n1", "secretHash": "ab" * 32, "role": "admin"},
    ],
)
async def test_a_bad_wish_to_join_is_refused_and_uses_nothing_up(
    body: dict[str, Any], master: RunningMaster
) -> None:
    token = await join_token(master)
    async with showing(master, token) as api:
        answer = await api.post("/join", body)
    assert answer.status == 400, answer.text
    assert (await join(master, token)).status == 201


@pytest.mark.parametrize(
    ("more", "field"),
    [({"uses": 0}, "uses"), ({"uses": True}, "uses"), ({"uses": 2**31}, "uses"), ({"nodeId": 3}, "nodeId"),
     ({"nodeId": "../n"}, "nodeId"), ({"expiresSeconds": 8 * 86400}, "expiresSeconds")],
)  # fmt: skip
async def test_a_bad_wish_for_a_join_token_is_refused_by_its_field(
    more: dict[str, Any], field: str, master: RunningMaster
) -> None:
    answer = await master.api.post("/tokens", {"name": "x", "role": "join"} | more)
    assert (answer.status, answer.field) == (400, field)


async def test_the_first_token_of_all_is_none_to_join_with(masters: Masters) -> None:
    master = await masters.start()
    answer = await master.api.post("/tokens", {"name": "x", "role": "join"})
    assert (answer.status, answer.code) == (409, "no_token_yet")
    assert (await master.api.get("/tasks")).status == 200, "the door was not closed"


# What a node's credential is good for


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/nodes/n2/session", None),
        ("POST", "/nodes/n2/heartbeat", None),
        ("POST", "/nodes/n2/tails", {"tails": []}),
        ("POST", "/nodes/n2/facts", {"at": "2026-01-01T00:00:00Z", "disks": [], "engines": []}),
        ("POST", "/nodes/n2/credential", {"secretHash": "ab" * 32}),
    ],
)
async def test_a_node_speaks_for_itself_alone(
    method: str, path: str, body: Any, master: RunningMaster
) -> None:
    await join(master, await join_token(master))
    async with showing(master, drawn()) as api:
        foreign = await api.call(method, path, body)
        assert (foreign.status, foreign.code) == (403, "another_node")
        own = await api.call(method, path.replace("n2", "n1"), body)
        assert own.status != 403, own.text


async def test_a_node_reports_its_own_attempts_alone(master: RunningMaster) -> None:
    await join(master, await join_token(master))
    other = await master.worker("n2")
    task = await master.api.submit()
    await other.assigned(task["taskId"])
    async with showing(master, drawn()) as api:
        report = {"status": "running", "attempt": 1}
        answer = await api.put(f"/tasks/{task['taskId']}/status", report)
        assert (answer.status, answer.code) == (403, "another_node")
        for path in ("/tasks", f"/tasks/{task['taskId']}/logs", "/nodes", "/tokens"):
            assert (await api.get(path)).status == 403
    assert (await master.api.task(task["taskId"]))["status"] == "scheduled"


async def test_no_request_of_a_worker_asks_the_store_without_end(master: RunningMaster) -> None:
    tails = [{"taskId": f"none-{number}", "attempt": 1, "frames": ""} for number in range(MOST_TAILS + 1)]
    refused = await master.api.post("/nodes/n1/tails", {"tails": tails})
    assert (refused.status, refused.field) == (400, "tails")
    assert (await master.api.post("/nodes/n1/tails", {"tails": tails[1:]})).status == 200
    told = OPERATIONS["POST /api/v1/nodes/{id}/tails"].body
    assert told is not None and told["properties"]["tails"]["maxItems"] == MOST_TAILS == 256


# Its life


async def renew(api: Api, secret: str, node_id: str = "n1") -> Answer:
    return await api.post(f"/nodes/{node_id}/credential", {"secretHash": hash_secret(secret)})


async def may_come_in(master: RunningMaster, secret: str) -> bool:
    async with showing(master, secret) as api:
        return (await api.post("/nodes/n1/tails", {"tails": []})).status == 200


async def test_a_renewed_credential_leaves_the_one_that_asked_and_ends_older_ones(
    master: RunningMaster,
) -> None:
    await join(master, await join_token(master))
    async with showing(master, drawn()) as api:
        first, again = await renew(api, drawn(2)), await renew(api, drawn(2))
        assert (first.status, again.json) == (201, first.json)
    assert [await may_come_in(master, drawn(number)) for number in (1, 2)] == [True, True]
    async with showing(master, drawn(2)) as api:
        assert (await renew(api, drawn(3))).status == 201
    assert [await may_come_in(master, drawn(number)) for number in (1, 2, 3)] == [False, True, True]
    async with showing(master, drawn()) as api:
        assert (await renew(api, drawn(4))).code == "revoked_token"


async def test_a_secret_is_one_node_s_alone(master: RunningMaster) -> None:
    token = await join_token(master, uses=2)
    await join(master, token)
    stolen = await join(master, token, "n2", drawn())
    assert (stolen.status, stolen.code) == (409, "secret_used")


async def test_only_a_node_renews(master: RunningMaster) -> None:
    assert (await renew(master.api, drawn())).code == "no_node_credential"
    _, worker = await add_token(master, Role.WORKER)
    async with showing(master, worker) as api:
        assert (await renew(api, drawn())).code == "no_node_credential"


@pytest.mark.parametrize("path", ["/nodes/n1/credential", "/nodes/n1?lost=true"], ids=["revoked", "removed"])
async def test_an_operator_ends_a_node_s_credential_and_its_session_at_once(
    path: str, master: RunningMaster
) -> None:
    await join(master, await join_token(master))
    worker = await connected(master, drawn())
    try:
        answer = await master.api.delete(path)
        assert answer.status == 200, answer.text
        await worker.until(lambda: worker.closed, "the session has ended")
        with pytest.raises(Exception, match="401"):
            await worker.connect()
    finally:
        await worker.close()
    assert not await may_come_in(master, drawn())


async def test_a_node_that_renews_while_its_credential_is_ended_is_out_all_the_same(
    master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await join(master, await join_token(master))
    tokens = master.server.context.store.tokens
    read = tokens.changed_since
    renewed: list[int] = []

    async def slow(version: int) -> TokenChanges:
        answer = await read(version)
        if version == 0 and not renewed:
            renewed.append(0)
            async with showing(master, drawn()) as api:
                renewed[0] = (await renew(api, drawn(2))).status
        return answer

    monkeypatch.setattr(tokens, "changed_since", slow)
    assert (await master.api.delete("/nodes/n1/credential")).status == 200
    assert renewed == [201]
    assert [await may_come_in(master, drawn(number)) for number in (1, 2)] == [False, False]


async def test_a_machine_joins_at_any_master(masters: Masters) -> None:
    one, two = [await masters.start(identity, token=TOKEN) for identity in ("machine-1", "machine-2")]
    token = await join_token(one)

    async def is_in() -> bool:
        return (await join(two, token)).status == 201

    await eventually(is_in, "the other master knows the token")

    async def is_known() -> bool:
        return await may_come_in(one, drawn())

    await eventually(is_known, "the first master knows the node")
    assert (await two.api.delete("/nodes/n1/credential")).status == 200

    async def is_out() -> bool:
        return not await may_come_in(one, drawn())

    await eventually(is_out, "the first master knows that it was revoked")
