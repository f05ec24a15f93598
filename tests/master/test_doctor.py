"""`GET /doctor` on both stores, and what workers tell of their machines."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.task import TaskStatus
from podling.master.context import MasterContext
from podling.master.operations.doctor import examine
from podling.master.sessions.facts import FactsTable
from tests.builders import build_node
from tests.core.clusters import sized
from tests.master.masters import Masters, RunningMaster
from tests.master.world import Faulty, World, assigned, away, insert

OF_AN_OLD_SERVER = "server_version"  # with TEST_DATABASE_URL it may be one that is not maintained any more


async def findings(master: RunningMaster, **query: Any) -> list[tuple[str, str]]:
    answer = await master.api.get("/doctor", **query)
    assert answer.status == 200, answer.text
    found = [(finding["code"], finding["subject"]) for finding in answer.json["findings"]]
    return [(code, subject) for code, subject in found if code != OF_AN_OLD_SERVER]


async def test_a_sound_cluster_has_nothing_to_find(master: RunningMaster) -> None:
    await master.worker("one")
    assert await findings(master) == []
    answer = (await master.api.get("/doctor")).json
    assert answer["masters"] == [{"masterId": answer["masterId"], "advertiseUrl": "http://machine-1.test"}]
    seconds = (datetime.now(UTC) - datetime.fromisoformat(answer["at"])).total_seconds()
    assert 0 <= seconds < 10


async def test_nodes_are_looked_at(master: RunningMaster) -> None:
    worker = master.new_worker("one")
    worker.unhealthy = "docker: no answer"
    await worker.connect()
    assert await findings(master) == [
        ("no_usable_node", "nodes"),
        ("node_unhealthy", "node one.test (one)"),
    ]
    assert await findings(master, scope="master") == []


def _facts(**changes: Any) -> dict[str, Any]:
    disk = {"name": "data directory", "path": "/data", "totalBytes": 100 * 2**30, "freeBytes": 2**30}
    engine = {"name": "docker", "version": None, "root": None, "problem": "it does not answer"}
    off = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return {"at": off, "disks": [disk], "engines": [engine]} | changes


async def test_what_a_worker_tells_is_judged(master: RunningMaster) -> None:
    await master.worker("one")
    told = await master.api.post("/nodes/one/facts", _facts())
    assert told.status == 200, told.text
    subject = "node one.test (one)"
    expected = [("clock_skew", subject), ("disk_full", subject), ("engine_away", subject)]
    assert await findings(master) == expected
    assert await findings(master, scope="master") == expected


async def test_facts_that_say_nothing_are_refused(master: RunningMaster) -> None:
    api = master.api
    assert (await api.post("/nodes/nobody/facts", _facts())).status == 404
    await master.worker("two")
    for body in ({}, _facts(at="2026-01-01T00:00:00"), _facts(disks="x"), _facts(more=1)):
        assert (await api.post("/nodes/two/facts", body)).status == 400
    disk, engine = _facts()["disks"][0], _facts()["engines"][0]
    for part in (
        {"disks": [disk | {"path": "/data\nrm -rf /"}]},
        {"disks": [disk | {"name": "\u202e"}]},
        {"disks": [disk | {"freeBytes": -1}]},
        {"disks": [disk] * 33},
        {"engines": [engine | {"problem": "\x1b[2J"}]},
        {"engines": [engine | {"version": "9" * 5000}]},
    ):
        answer = await api.post("/nodes/two/facts", _facts(**part))
        assert (answer.status, answer.field.split(".")[0]) == (400, *part)
    many = _facts(engines=[{"name": "x" * 100_000}])
    assert (await api.post("/nodes/two/facts", many)).status == 413
    assert (await api.get("/doctor", scope="world")).field == "scope"


async def test_a_live_task_of_a_node_that_is_gone_is_found(world: World) -> None:
    context = await world.leader()
    await world.store.register_master(context.record())
    await world.store.open_session(build_node("other"))
    task = await assigned(context, "gone")
    assert task.status is TaskStatus.SCHEDULED
    world.clock.passed += 1000
    found = (await examine(context, FactsTable(), whole=True))["findings"]
    assert ("task_stuck", f"task job ({task.task_id})") in [(one.code, one.subject) for one in found]


async def test_no_doctor_loads_all_that_runs(world: World) -> None:
    faulty = Faulty(world.store)
    context = world.context(store=faulty)
    faulty.before["snapshot"] = away
    codes = [one.code for one in (await examine(context, FactsTable(), whole=True))["findings"]]
    assert "no_leader" in codes
    assert "store_away" not in codes


async def codes(context: MasterContext) -> set[str]:
    found = await examine(context, FactsTable(), whole=True)
    return {finding.code for finding in found["findings"]}


async def test_a_task_that_fits_on_no_node_is_not_the_planners_fault(world: World) -> None:
    context = await world.leader()
    await insert(context)
    world.clock.passed = 300.0
    assert not await codes(context) & {"shape_blocked", "task_not_planned"}
    world.clock.passed = 1800.0
    assert await codes(context) & {"shape_blocked", "task_not_planned"} == {"shape_blocked"}
    context.view.put_node(sized("node-1"))
    assert await codes(context) & {"shape_blocked", "task_not_planned"} == {"task_not_planned"}


async def test_a_store_that_is_away_is_a_finding(world: World) -> None:
    faulty = Faulty(world.store)
    context = world.context(store=faulty)
    faulty.before["diagnose"] = away
    for whole in (True, False):
        found = (await examine(context, FactsTable(), whole))["findings"]
        assert [one.code for one in found] == ["store_away"]


async def test_a_store_that_hangs_is_a_finding_in_good_time(world: World) -> None:
    faulty = Faulty(world.store)
    context = world.context(store=faulty)
    faulty.before["diagnose"] = asyncio.Event().wait
    async with asyncio.timeout(10):
        answer = await examine(context, FactsTable(), whole=True, patience_seconds=0.05)
    assert [(one.code, one.message) for one in answer["findings"]] == [
        ("store_away", "the store did not answer in time")
    ]


async def test_a_worker_of_another_version_is_found_at_any_master(masters: Masters) -> None:
    first, second = await masters.start(), await masters.start("machine-2")
    await second.worker("one", version="0.0.9")
    assert ("version_skew", "node one.test (one)") in await findings(first)
