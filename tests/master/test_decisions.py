"""Refusals are kept: counted together, in bounds, and lost by no restart."""

from typing import Any

import pytest

from podling.core.decision import NOT_KEPT, Decision, refusal
from podling.core.errors import PolicyDenied, StoreUnavailable
from podling.core.permissions import Allowed, Limits, Policy
from podling.master.decisions import MOST_RECORDS, MOST_WORDS, DecisionLog
from podling.store.base import Store
from podling.store.ports.decisions import DecisionQuery
from tests.builders import NOW
from tests.master.masters import Masters, RunningMaster, task_body
from tests.master.world import World


async def test_limits_are_the_roles(masters: Masters) -> None:
    limits = {"admin": Limits(priority=5, batch=2), "default": Limits(priority=0)}
    master = await masters.start(policy=Policy(limits=limits))
    refused = await master.api.post("/tasks", task_body(priority=6))
    assert refused.json["details"] == {"rule": "limits.admin.priority", "field": "priority"}
    assert (await master.api.post("/tasks", task_body(priority=5))).status == 201
    many = await master.api.post("/tasks:batch", {"tasks": [task_body()] * 3})
    assert (many.status, many.json["details"]["rule"]) == (403, "limits.admin.batch")
    codes = [(one["door"], one["details"]["rule"]) for one in (await master.api.get("/decisions")).json]
    assert sorted(codes) == [("batch", "limits.admin.batch"), ("submit", "limits.admin.priority")]


class Away:
    """A store whose decisions cannot be written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_away = True

    @property
    def decisions(self) -> Any:
        return self if self.is_away else self._store.decisions

    async def record(self, decisions: Any) -> None:
        raise StoreUnavailable("away")


def denial(message: str, actor: str = "ann") -> Decision:
    error = PolicyDenied(message, details={"rule": "images.allow", "field": "image"})
    return refusal(error, NOW, actor=actor, door="submit")


async def kept(store: Store) -> list[Decision]:
    return list(await store.decisions.find(DecisionQuery()))


async def test_the_same_refusal_is_one_decision_that_counts(master: RunningMaster) -> None:
    for _ in range(3):
        await master.api.post("/tasks", task_body(network="host"))
    await master.api.post("/tasks:batch", {"tasks": [task_body(network="host")]})
    found = (await master.api.get("/decisions")).json
    by_door = {one["door"]: one for one in found}
    assert {door: one["count"] for door, one in by_door.items()} == {"submit": 3, "batch": 1}
    one = by_door["submit"]
    assert (one["code"], one["taskId"], one["actor"]) == ("policy_denied", None, "local")
    assert one["details"] == {"rule": "networks.allow", "field": "network"}
    assert one["firstAt"] <= one["at"]
    assert (await master.api.get("/ingest/decisions")).json == found
    assert (await master.api.get("/decisions", code="other")).json == []


async def test_decisions_are_read_in_pages(master: RunningMaster) -> None:
    for path in ("/a", "/b", "/c"):
        await master.api.post("/tasks", task_body(mounts=[{"type": "bind", "source": path, "target": path}]))
        await master.api.post("/tasks", task_body(network="host", name=path))
    listed = (await master.api.get("/decisions")).json
    seen: list[Any] = []
    query: dict[str, str] = {}
    while True:
        page = await master.api.get("/decisions", limit="1", **query)
        seen += page.json
        if "X-Next-Cursor" not in page.headers:
            break
        query = {"cursor": page.headers["X-Next-Cursor"]}
    assert seen == listed
    for bad in ({"limit": "0"}, {"cursor": "x"}, {"status": "x"}):
        assert (await master.api.get("/decisions", **bad)).status == 400


async def test_who_asks_for_ever_new_things_fills_some_records_and_no_more(world: World) -> None:
    log = DecisionLog(world.store, world.clock)
    for number in range(1000):
        log.note(denial(f"image: {number}"))
    log.note(denial("image: 1", actor="eve"))
    await log.run_once()
    found = await kept(world.store)
    assert len([one for one in found if one.actor == "ann"]) == MOST_WORDS + 1
    assert sum(one.count for one in found) == 1001


async def test_what_there_is_no_room_for_is_counted(world: World) -> None:
    log = DecisionLog(world.store, world.clock)
    for number in range(MOST_RECORDS + 7):
        log.note(denial("image: no", actor=f"a{number}"))
    await log.run_once()
    found = await kept(world.store)
    assert len(found) == MOST_RECORDS + 1
    assert [one.count for one in found if one.code == NOT_KEPT] == [7]


async def test_a_store_that_is_away_for_a_while_loses_no_refusal(world: World) -> None:
    away = Away(world.store)
    log = DecisionLog(away, world.clock)  # type: ignore[arg-type]
    log.note(denial("image: no"))
    with pytest.raises(StoreUnavailable):
        await log.run_once()
    log.note(denial("image: no"))
    away.is_away = False
    await log.run_once()
    await log.run_once()
    assert [one.count for one in await kept(world.store)] == [2]


async def test_refusals_are_written_when_a_master_stops(masters: Masters) -> None:
    first = await masters.start()
    await first.api.post("/tasks", task_body(network="host"))
    await first.stop_server()
    second = await masters.start("machine-2")
    assert [one["count"] for one in (await second.api.get("/decisions")).json] == [1]


async def test_a_nodes_own_denial_is_a_decision_too(master: RunningMaster) -> None:
    worker = await master.worker()
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    error = "This node's policy denies it by the rule hostPaths: mounts.0.source: no"
    await worker.end(work, None, error_code="POLICY_DENIED", error=error)
    failed = await master.until_status(task["taskId"], "failed")
    assert (failed["errorCode"], failed["error"]) == ("POLICY_DENIED", error)
    (kept,) = (await master.api.get("/decisions", taskId=task["taskId"])).json
    assert kept["details"] == {"rule": "hostPaths", "nodeId": "node-1", "attempt": 1}
    assert (kept["actor"], kept["door"]) == ("node node-1", None)
    assert (await master.api.get("/ingest/decisions")).json == []
    explained = (await master.api.get(f"/tasks/{task['taskId']}/explain")).json
    assert "hostPaths" in str(explained) and "POLICY_DENIED" in str(explained)


async def test_the_policy_in_force_is_shown(master: RunningMaster) -> None:
    shown = (await master.api.get("/policy")).json
    assert shown["source"] is None and shown["problem"] is None
    assert shown["policy"]["images"] == {"allow": None, "deny": []}
    master.server.use_policy(Policy(networks=Allowed(allow=("none",))))
    master.server.keep_policy("line 1: x: there is no such rule")
    shown = (await master.api.get("/policy")).json
    assert shown["policy"]["networks"] == {"allow": ["none"]}
    assert shown["problem"] == "line 1: x: there is no such rule"
