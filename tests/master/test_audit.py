"""Who changed what is kept, and nothing that is secret."""

import asyncio
import base64
from typing import Any

import pytest

from podling.core.access import Role
from podling.core.audit import AuditEntry, Outcome
from podling.core.errors import StoreUnavailable
from podling.core.token import SECRET_PATTERN, Token
from podling.master.audit_log import MOST_PER_WRITE, MOST_WAITING, AuditLog
from podling.master.loops.retention import Retention
from podling.store.memory.audit import AuditTable
from podling.store.ports.audit import AuditQuery
from podling.store.ports.tokens import StoredToken
from tests.builders import NOW
from tests.master.masters import Api, Masters, RunningMaster, task_body
from tests.master.tokens import add_token, showing
from tests.master.world import World


async def _audit(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/audit", **query)
    assert answer.status == 200, answer.text
    return list(answer.json)


def _short(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["method"], entry["route"].removeprefix("/api/v1"), entry["outcome"], entry["status"]


async def test_every_change_and_every_refusal_by_role_is_kept_and_no_read(master: RunningMaster) -> None:
    admin, admin_secret = await add_token(master, Role.ADMIN)
    reader, reader_secret = await add_token(master, Role.READER)
    async with showing(master, admin_secret) as api, showing(master, reader_secret) as reading:
        task = (await api.post("/tasks", task_body())).json
        await api.post("/tasks", {"name": "bad"})
        await api.get("/tasks")
        await reading.get("/tasks")
        await reading.post(f"/tasks/{task['taskId']}/cancel")
        await reading.get("/tokens")
        await api.post(f"/tasks/{task['taskId']}/cancel")
        found = await _audit(api)
        assert [_short(entry) for entry in found] == [
            ("POST", "/tasks/{id}/cancel", "done", 200),
            ("GET", "/tokens", "refused", 403),
            ("POST", "/tasks/{id}/cancel", "refused", 403),
            ("POST", "/tasks", "failed", 400),
            ("POST", "/tasks", "done", 201),
        ]
        cancelled, _, refused, failed, submitted = found
        assert (cancelled["actor"], cancelled["tokenId"]) == (admin.name, admin.token_id)
        assert (refused["actor"], refused["tokenId"]) == (reader.name, reader.token_id)
        assert (refused["code"], failed["code"]) == ("role_needed", "invalid_field")
        assert cancelled["ids"] == {"id": task["taskId"]}
        assert submitted["ids"] == {"taskId": task["taskId"]}
        assert {entry["address"] for entry in found} == {"127.0.0.1"}


async def test_who_has_no_token_at_all_is_local(master: RunningMaster) -> None:
    await master.api.submit()
    (entry,) = await _audit(master.api)
    assert (entry["actor"], entry["tokenId"]) == ("local", None)


async def test_it_holds_no_secret(master: RunningMaster) -> None:
    planted = "hunter22hunter22"
    made = (await master.api.post("/tokens", {"name": "ada", "role": "admin"})).json
    _, reader = await add_token(master, Role.READER)
    async with showing(master, made["token"]) as api, showing(master, reader) as reading:
        await api.post("/tasks", task_body(env={"PASSWORD": planted}))
        await api.post(f"/tasks/{made['token']}/cancel")
        await api.post(f"/tasks/x/cancel?key={planted}")
        await reading.get(f"/streams/{planted}")
        answer = await api.get("/audit")
        assert len(answer.json) == 5
        assert planted not in answer.text and not SECRET_PATTERN.search(answer.text)
        assert answer.json[-1]["ids"] == {"tokenId": made["tokenId"]}


async def test_odd_ids_are_kept_as_they_can_be_read(master: RunningMaster) -> None:
    for path in ("%00", "%ff", "%1b%5b31m", "x" * 3000):
        assert (await master.api.post(f"/tasks/{path}/cancel")).status == 404
    long, escape, *_, nul = [entry["ids"]["id"] for entry in await _audit(master.api)]
    assert (nul, escape, long) == ("\\x00", "\\x1b[31m", "x" * 128)


async def test_it_comes_in_pages(master: RunningMaster) -> None:
    for _ in range(5):
        await master.api.submit()
    whole = await _audit(master.api)
    first = await master.api.get("/audit", limit=3)
    rest = await master.api.get("/audit", limit=3, cursor=first.headers["X-Next-Cursor"])
    assert [*first.json, *rest.json] == whole and "X-Next-Cursor" not in rest.headers
    for query in ({"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"cursor": "-1"}):
        assert (await master.api.get("/audit", **query)).status == 400


async def test_what_several_masters_write_is_read_newest_first(masters: Masters) -> None:
    one, two = await masters.start("one"), await masters.start("two")
    submitted = [(await master.api.submit())["taskId"] for master in (one, two, one, two, one)]
    await two.server.audit.flush()  # before what the other one noted in between
    for reader in (one, two):
        await one.server.audit.flush()
        entries = await _audit(reader.api)
        assert [entry["ids"]["taskId"] for entry in entries] == submitted[::-1]
        assert [entry["at"] for entry in entries] == sorted((entry["at"] for entry in entries), reverse=True)
        pages, cursor = [], None
        while cursor is not None or not pages:
            page = await reader.api.get("/audit", limit=2, **({"cursor": cursor} if cursor else {}))
            pages += page.json
            cursor = page.headers.get("X-Next-Cursor")
        assert pages == entries
    no_number = base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 x").decode().rstrip("=")
    assert (await one.api.get("/audit", cursor=no_number)).status == 400


async def test_it_can_be_searched(master: RunningMaster) -> None:
    task_id = (await master.api.submit())["taskId"]
    await master.api.post("/tasks", {"name": "bad"})
    await master.api.post(f"/tasks/{task_id}/cancel")
    cancel, bad, submitted = await _audit(master.api)
    assert await _audit(master.api, action="POST /api/v1/tasks") == [bad, submitted]
    assert await _audit(master.api, action="POST", actor="local", outcome="done") == [cancel, submitted]
    assert await _audit(master.api, since=cancel["at"]) == [cancel]
    assert await _audit(master.api, until=submitted["at"]) == await _audit(master.api, actor="eve") == []
    first = await master.api.get("/audit", limit=1, outcome="done")
    rest = await master.api.get("/audit", limit=1, outcome="done", cursor=first.headers["X-Next-Cursor"])
    assert [*first.json, *rest.json] == [cancel, submitted] and "outcome=done" in first.headers["Link"]
    for query in ({"outcome": "good"}, {"since": "soon"}, {"until": "1"}, {"who": "eve"}):
        assert (await master.api.get("/audit", **query)).status == 400


async def test_it_outlives_its_master(masters: Masters) -> None:
    master = await masters.start("machine-1")
    await master.api.submit()
    await master.stop_server()
    other = await masters.start("machine-2")
    assert [entry["route"] for entry in await _audit(other.api)] == ["/api/v1/tasks"]


async def test_old_entries_and_ended_tokens_go_with_the_ended_tasks(world: World) -> None:
    leader = await world.leader()
    await world.store.audit.add([_entry(1)])
    for name, revoked_at in (("ada", None), ("gone", NOW)):
        token = Token(token_id=name, name=name, role=Role.ADMIN, created_at=NOW, revoked_at=revoked_at)
        await world.store.tokens.write(
            lambda known, token=token: StoredToken(token=token, secret_hash=token.name)
        )
    world.clock.passed = leader.options.keep_ended.total_seconds()
    await Retention(leader).run_once()
    assert len(await world.store.audit.find(AuditQuery(limit=10))) == 1
    world.clock.passed += 1
    await Retention(leader).run_once()
    assert await world.store.audit.find(AuditQuery(limit=10)) == []
    (left,) = (await world.store.tokens.changed_since(0)).tokens
    assert left.token.name == "ada"


class Moody(AuditTable):
    def __init__(self) -> None:
        super().__init__(most=10 * MOST_WAITING)
        self.is_away = False

    async def add(self, entries: Any) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        await super().add(entries)


def _entry(number: int) -> AuditEntry:
    return AuditEntry(at=NOW, actor=str(number), method="POST", route="/", outcome=Outcome.DONE, status=200)


async def test_what_cannot_be_written_now_is_written_later_in_order() -> None:
    store = Moody()
    log = AuditLog(store)
    store.is_away = True
    for number in range(MOST_PER_WRITE + 5):
        log.note(_entry(number))
    with pytest.raises(StoreUnavailable):
        await log.flush()
    await log.hurry()
    store.is_away = False
    await asyncio.gather(log.flush(), log.flush())
    actors = [row.entry.actor for row in await store.find(AuditQuery(limit=MOST_WAITING))]
    assert actors == [str(number) for number in reversed(range(MOST_PER_WRITE + 5))]


async def test_a_store_that_is_away_for_long_costs_the_oldest_and_the_log_has_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Moody()
    log = AuditLog(store)
    for number in range(MOST_WAITING + 1):
        log.note(_entry(number))
    assert "actor='0'" in caplog.text
    await log.flush()
    assert len(await store.find(AuditQuery(limit=2 * MOST_WAITING))) == MOST_WAITING
