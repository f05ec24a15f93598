"""The life of tokens: the first one, the last one, and what ends with one."""

import asyncio
import html
import re
from typing import Any

import pytest
from multidict import CIMultiDict

from podling.core.access import Role
from podling.core.errors import ConfigurationError
from podling.core.token import SECRET_PATTERN
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Answer, Api, Masters, RunningMaster, eventually, task_body
from tests.master.tokens import add_token, showing

ENDS_SECONDS = 2.0  # within which what was begun with a token ends with it


async def _create(api: Api, name: str, role: str | None, **more: Any) -> dict[str, Any]:
    answer = await api.post("/tokens", {"name": name, "role": role} | more)
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def test_the_first_token_is_an_admin_s_and_closes_the_door(master: RunningMaster) -> None:
    assert (await master.api.get("/tokens")).json == []
    answer = await master.api.post("/tokens", {"name": "ada", "role": "reader"})
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    first = answer.json
    assert first["role"] == "admin" and re.fullmatch(r"podling_admin_[0-9a-f]{64}", first["token"])
    assert (await master.api.get("/tasks")).status == 401
    async with showing(master, first["token"]) as api:
        listed = (await api.get("/tokens")).json
        assert [item["name"] for item in listed] == ["ada"]
        assert "token" not in listed[0] and first["token"] not in str(listed)
        second = await _create(api, "ci", "reader", expiresSeconds=3600)
        assert (second["role"], second["revokedAt"]) == ("reader", None)
        assert second["expiresAt"] > second["createdAt"]
        posted = {name: item for name, item in listed[0].items() if name != "name"} | {"name": "again"}
        assert (await api.post("/tokens", posted)).status == 201, "what a list gave can be posted again"


async def test_of_two_who_make_the_first_token_at_once_one_does(masters: Masters) -> None:
    master = await masters.start()
    answers = await asyncio.gather(
        *(master.api.post("/tokens", {"name": f"n{number}", "role": "admin"}) for number in range(4))
    )
    assert sorted(answer.status for answer in answers) == [201, 401, 401, 401]


async def test_the_last_admin_s_token_is_not_revoked(master: RunningMaster) -> None:
    first = await _create(master.api, "ada", "admin")
    async with showing(master, first["token"]) as api:
        refused = await api.delete(f"/tokens/{first['tokenId']}")
        assert (refused.status, refused.code) == (409, "last_admin")
        second = await _create(api, "bob", "admin")
        once, twice = [await api.delete(f"/tokens/{second['tokenId']}") for _ in range(2)]
        assert (once.status, twice.status) == (200, 200)
        assert once.json["revokedAt"] == twice.json["revokedAt"] is not None
        assert (await api.delete("/tokens/nobody")).code == "token_not_found"


async def test_the_shared_token_is_a_way_in_beside_the_stored_ones(masters: Masters) -> None:
    master = await masters.start(token="correct-horse-battery-staple")
    made = await _create(master.api, "ci", "submitter")
    assert made["role"] == "submitter"
    async with showing(master, made["token"]) as api:
        assert (await api.post("/tasks", task_body())).status == 201
    admin = await _create(master.api, "ada", "admin")
    assert (await master.api.delete(f"/tokens/{admin['tokenId']}")).status == 200
    assert (await master.api.get("/tasks")).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "reader"}, "name"),
        ({"name": 5, "role": "reader"}, "name"),
        ({"name": "", "role": "reader"}, "name"),
        ({"name": "x" * 101, "role": "reader"}, "name"),
        ({"name": "a\u202eb", "role": "reader"}, "name"),
        ({"name": "a"}, "role"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "a", "role": "task"}, "role"),
        ({"name": "a", "role": ["admin"]}, "role"),
        ({"name": "a", "role": "reader", "expiresSeconds": 0}, "expiresSeconds"),
        ({"name": "a", "role": "reader", "expiresSeconds": -1}, "expiresSeconds"),
        ({"name": "a", "role": "reader", "expiresSeconds": 1e18}, "expiresSeconds"),
        ({"name": "a", "role": "reader", "expiresSeconds": True}, "expiresSeconds"),
        ({"name": "a", "role": "reader", "nodes": []}, "nodes"),
    ],
)
async def test_a_bad_wish_for_a_token_is_refused_by_its_field(
    masters: Masters, body: dict[str, Any], field: str
) -> None:
    master = await masters.start(token="correct-horse-battery-staple")
    answer = await master.api.post("/tokens", body)
    assert (answer.status, answer.field) == (400, field)
    assert (await master.api.get("/tokens")).json == []


async def test_two_live_tokens_have_two_names(master: RunningMaster) -> None:
    first = await _create(master.api, "ada", "admin")
    async with showing(master, first["token"]) as api:
        assert (await api.post("/tokens", {"name": "ada", "role": "reader"})).code == "token_exists"
        other = await _create(api, "ci", "reader")
        await api.delete(f"/tokens/{other['tokenId']}")
        assert (await _create(api, "ci", "reader"))["tokenId"] != other["tokenId"]


async def test_tokens_come_in_pages(master: RunningMaster) -> None:
    _, secret = await add_token(master, Role.ADMIN)
    for age in (1.0, 2.0, 3.0):
        await add_token(master, Role.READER, age=age)
    async with showing(master, secret) as api:
        whole = [item["tokenId"] for item in (await api.get("/tokens")).json]
        first = await api.get("/tokens", limit=3)
        rest = await api.get("/tokens", limit=3, cursor=first.headers["X-Next-Cursor"])
        assert [item["tokenId"] for item in (*first.json, *rest.json)] == whole
        assert "X-Next-Cursor" not in rest.headers
        assert (await api.get("/tokens", cursor="broken")).field == "cursor"


async def test_what_is_no_live_token_is_told_apart(master: RunningMaster) -> None:
    _, live = await add_token(master, Role.READER)
    _, expired = await add_token(master, Role.READER, age=10, expires_at=5)
    _, revoked = await add_token(master, Role.READER, age=10, revoked_at=5)
    expected = {
        None: "unauthorized",
        live[:-1]: "unknown_token",
        live + "0": "unknown_token",
        live.upper(): "unknown_token",
        expired: "expired_token",
        revoked: "revoked_token",
    }
    for secret, code in expected.items():
        async with showing(master, secret) as api:
            answer = await api.get("/tasks")
            assert (answer.status, answer.code) == (401, code), secret
            assert not SECRET_PATTERN.search(answer.text)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("Authorization", "Bearer {live}"), ("x-api-key", "{live}")], None),
        ([("x-api-key", "{live}")], None),
        ([("Authorization", "Bearer {live}"), ("x-api-key", "{other}")], "two_credentials"),
        ([("Authorization", "Bearer {live}"), ("Authorization", "Bearer {other}")], "two_credentials"),
        ([("x-api-key", "{live}"), ("x-api-key", "{other}")], "two_credentials"),
        ([("x-api-key", "{live}"), ("x-api-key", "")], "two_credentials"),
        ([("Authorization", "")], "empty_credential"),
        ([("Authorization", "Bearer")], "empty_credential"),
        ([("Authorization", "Basic {live}")], "empty_credential"),
        ([("x-api-key", "")], "empty_credential"),
        ([("x-api-key", "\u00e4\u20ac")], "unknown_token"),
    ],
)
async def test_one_credential_is_shown_by_either_header(
    master: RunningMaster, headers: list[tuple[str, str]], code: str | None
) -> None:
    _, live = await add_token(master, Role.READER)
    _, other = await add_token(master, Role.READER)
    filled = CIMultiDict((name, text.format(live=live, other=other)) for name, text in headers)
    async with showing(master, None) as api:
        answer: Answer = await api.call("GET", "/tasks", headers=filled)
        assert (answer.status, answer.json and answer.code if code else None) == (401 if code else 200, code)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8070"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "10.0.0.5:8070"}, 200),
        ({"Host": "my-machine"}, 200),
        ({"Origin": "http://127.0.0.1:3000"}, 200),
        ({"Host": "evil.example"}, 401),
        ({"Host": "localhost.evil.example:8070"}, 401),
        ({"Host": "[broken"}, 401),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "http://10.0.0.5"}, 401),
        ({"Origin": "null"}, 401),
    ],
)
async def test_a_page_from_elsewhere_does_not_use_an_open_door(
    master: RunningMaster, headers: dict[str, str], status: int
) -> None:
    answer = await master.api.call("GET", "/tasks", headers=headers)
    assert answer.status == status, answer.text
    assert status == 200 or answer.code == "another_site"
    _, secret = await add_token(master, Role.READER)
    answer = await master.api.call("GET", "/tasks", headers={"x-api-key": secret} | headers)
    assert answer.status == 200, "a token is no cookie: no page can send it"


async def test_whoever_asks_reads_the_page_and_its_commands_show_a_token_once_there_is_one(
    master: RunningMaster,
) -> None:
    _, secret = await add_token(master, Role.ADMIN)
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert (await master.api.call("GET", "//openapi.json", headers=headers)).status == 200
        answer = await master.api.call("GET", "//docs", headers=headers)
        assert answer.status == 200
        assert secret not in answer.text
        text = html.unescape(answer.text)
        assert f'curl -H "Authorization: Bearer $PODLING_TOKEN" {master.url}/api/v1/tasks<' in text
        assert f"curl {master.url}/health<" in text, "what is open needs none"


async def test_another_master_learns_of_a_token_and_of_its_end(masters: Masters) -> None:
    one = await masters.start("machine-1")
    two = await masters.start("machine-2")
    first = await _create(one.api, "ada", "admin")
    async with showing(one, first["token"]) as at_one, showing(two, first["token"]) as at_two:

        async def is_known() -> bool:
            return (await two.api.get("/tasks")).status == 401 and (await at_two.get("/tasks")).status == 200

        await eventually(is_known, "the other master to know the first token", ENDS_SECONDS)
        second = await _create(at_one, "bob", "admin")
        await at_one.delete(f"/tokens/{first['tokenId']}")

        async def is_out() -> bool:
            return (await at_two.get("/tasks")).status == 401

        await eventually(is_out, "the other master to know that it was revoked", ENDS_SECONDS)
        async with showing(two, second["token"]) as bob:
            assert (await bob.get("/tasks")).status == 200


async def test_a_session_and_a_log_end_with_their_tokens(masters: Masters) -> None:
    """Revoked at one master, ended at the other."""
    one = await masters.start("machine-1")
    two = await masters.start("machine-2")
    admin = await _create(one.api, "ada", "admin")
    async with showing(one, admin["token"]) as api:
        reader, working = await _create(api, "log", "reader"), await _create(api, "worker", "worker")
        await two.server.context.credentials.run_once()
        task = await api.submit()
        worker = FakeWorker(two.url, "node-1", token=working["token"])
        try:
            await worker.connect()
            async with showing(two, reader["token"]) as follower:
                path = f"/tasks/{(await api.submit(runAt='2090-01-01T00:00:00Z'))['taskId']}/logs"
                async with follower.stream(path, follow="true") as response:
                    assert response.status == 200
                    for token in (reader, working):
                        await api.delete(f"/tokens/{token['tokenId']}")
                    async with asyncio.timeout(ENDS_SECONDS):
                        with pytest.raises(Exception, match="payload"):
                            await response.read()
            await worker.until(lambda: worker.closed, "its session to end", ENDS_SECONDS)
            with pytest.raises(Exception, match="401"):
                await worker.connect()
        finally:
            await worker.close()
        assert (await api.task(task["taskId"]))["status"] in ("pending", "scheduled")


async def test_a_log_ends_when_its_token_expires(master: RunningMaster) -> None:
    _, admin = await add_token(master, Role.ADMIN)
    async with showing(master, admin) as api:
        task = await api.submit(runAt="2090-01-01T00:00:00Z")
    _, brief = await add_token(master, Role.READER, expires_at=0.5)
    async with (
        showing(master, brief) as follower,
        follower.stream(f"/tasks/{task['taskId']}/logs", follow="true") as response,
    ):
        assert response.status == 200
        async with asyncio.timeout(0.5 + ENDS_SECONDS):
            with pytest.raises(Exception, match="payload"):
                await response.read()


async def test_without_a_token_only_this_machine_is_listened_to(masters: Masters) -> None:
    master = await masters.start()
    with pytest.raises(ConfigurationError, match="a token is needed"):
        await masters.start("machine-2", host="0.0.0.0")
    await _create(master.api, "ada", "admin")
    other = await masters.start("machine-2", host="0.0.0.0")
    assert (await other.api.get("/tasks")).status == 401
