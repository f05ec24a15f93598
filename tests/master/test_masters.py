"""Restarts, several masters on one database, and a database that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podling.store.base import Master, Store
from podling.store.postgres.embedded import EmbeddedPostgres
from podling.store.postgres.store import PostgresStore
from tests.master.fake_worker import held
from tests.master.masters import SHORT_LEASE_SECONDS, Masters, RunningMaster, eventually


async def _leads(master: RunningMaster) -> bool:
    return bool((await master.api.get("//ready")).json["leader"])


# Restart


async def test_a_restarted_master_knows_what_the_last_one_knew(masters: Masters) -> None:
    first = await masters.start("one")
    worker = await first.worker()
    running, waiting = (
        await first.api.submit(name="running"),
        await first.api.submit(runAt="2100-01-01T00:00:00Z"),
    )
    work = await worker.assigned(running["taskId"])
    await worker.start(work)
    ended = await first.api.submit(idempotencyKey="ended")
    await worker.end(await worker.assigned(ended["taskId"]))
    await first.stop()

    second = await masters.start("one")
    assert await _leads(second)
    assert (await second.api.node("node-1"))["runningTasks"] == 1
    assert (await second.api.task(waiting["taskId"]))["status"] == "pending"
    worker = second.new_worker()
    desired = (await worker.connect([held(work)])).desired
    assert (desired.assign, desired.stop, desired.forget) == ((), (), ())
    assert await worker.end(work) == "applied"
    assert (await second.api.task(running["taskId"]))["status"] == "completed"
    again = await second.api.submit(name="new")
    await worker.assigned(again["taskId"])


async def test_tasks_that_were_assigned_while_nobody_was_connected_are_delivered(masters: Masters) -> None:
    first = await masters.start("one")
    worker = await first.worker()
    await worker.vanish()
    task = await first.api.submit()
    await first.until_status(task["taskId"], "scheduled")
    await first.stop()
    second = await masters.start("one")
    worker = second.new_worker()
    desired = (await worker.connect()).desired
    assert [item.task_id for item in desired.assign] == [task["taskId"]]


async def test_blocked_tasks_come_back_with_a_new_leader(masters: Masters) -> None:
    first = await masters.start("one")
    await first.worker()
    body = {"name": "job", "image": "a", "priority": 9, "placement": {"nodeSelector": {"zone": "b"}}}
    await first.api.post("/tasks:batch", {"tasks": [body] * 500})
    plain = await first.api.submit()
    await first.until_status(plain["taskId"], "scheduled")  # so the others were marked
    await first.stop()
    second = await masters.start("one")
    worker = await second.worker("late", labels={"zone": "b"}, slots=600)
    await worker.until(lambda: len(worker.assignments) == 500, "the blocked tasks", 15)


async def _left_behind(store: Store, holder: str) -> int:
    """Make a leader that has gone without resigning."""
    await store.open()
    epoch = await store.take_leadership(holder, await store.leadership())
    await store.close()
    assert epoch is not None
    return epoch


async def test_the_last_leader_leads_again_at_once(masters: Masters) -> None:
    epoch = await _left_behind(masters.make_store(), "one")
    master = await masters.start("one", lease_seconds=30)
    assert await _leads(master)
    assert (await master.api.get("/cluster")).json["epoch"] == epoch + 1


async def test_another_master_takes_over_from_one_that_has_gone(masters: Masters) -> None:
    await _left_behind(masters.make_store(), "gone")
    master = await masters.start("two", lease_seconds=SHORT_LEASE_SECONDS)
    task = await master.api.submit()
    worker = await master.worker()
    await worker.assigned(task["taskId"])
    assert await _leads(master)


# Two masters


@pytest.fixture
async def pair(masters: Masters) -> AsyncIterator[tuple[RunningMaster, RunningMaster]]:
    """A leader and a follower."""
    leader = await masters.start("one", lease_seconds=SHORT_LEASE_SECONDS)
    follower = await masters.start("two", lease_seconds=SHORT_LEASE_SECONDS)
    assert await _leads(leader) and not await _leads(follower)
    yield leader, follower


Pair = tuple[RunningMaster, RunningMaster]


async def test_only_one_leads_and_places_what_the_other_accepts(pair: Pair) -> None:
    leader, follower = pair
    at_leader = await leader.worker("one", slots=1)
    at_follower = await follower.worker("two", slots=1)
    tasks = [await follower.api.submit() for _ in range(2)]
    await at_leader.until(lambda: at_leader.assignments, "a task at the leader's worker")
    await at_follower.until(lambda: at_follower.assignments, "a task at the follower's worker")
    given = {work.task_id for work in (*at_leader.assignments, *at_follower.assignments)}
    assert given == {task["taskId"] for task in tasks}
    for worker in (at_leader, at_follower):
        await worker.start(worker.assignments[0])
        await worker.end(worker.assignments[0])
    for task in tasks:
        assert (await leader.until_status(task["taskId"], "completed"))["attempt"] == 1
    third = await leader.api.submit()
    await eventually(lambda: _assigned_to_any(third, at_leader, at_follower), "the room to be used again")


async def _assigned_to_any(task: dict[str, Any], *workers: Any) -> bool:
    return any(work.task_id == task["taskId"] for worker in workers for work in worker.assignments)


async def test_a_cancel_at_one_master_reaches_the_worker_at_the_other(pair: Pair) -> None:
    leader, follower = pair
    worker = await follower.worker()
    task = await leader.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))
    assert (await leader.api.post(f"/tasks/{task['taskId']}/cancel")).status == 202
    await worker.stopped(task["taskId"])


async def test_a_cordon_at_the_follower_counts_for_the_leader(pair: Pair) -> None:
    leader, follower = pair
    worker = await leader.worker(slots=1000)
    await eventually(lambda: _knows(follower, "node-1"), "the follower to know the node")
    await follower.api.post("/nodes/node-1/cordon")

    async def cordoned() -> bool:
        return "cordoned" in ((await leader.api.submit())["schedulingError"] or "")

    await eventually(cordoned, "the leader to know of the cordon")
    waiting = [task["taskId"] for task in (await leader.api.get("/tasks", status="pending")).json]
    assert waiting
    await follower.api.post("/nodes/node-1/uncordon")
    await worker.assigned(waiting[0])


async def _knows(master: RunningMaster, node_id: str) -> bool:
    return master.server.context.view.node(node_id) is not None


async def test_a_node_lost_at_the_follower_is_declared_by_the_leader(pair: Pair) -> None:
    leader, follower = pair
    worker = await follower.worker("two")
    task = await leader.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))
    await worker.vanish()
    other = await leader.worker("one")
    await other.assigned(task["taskId"], 2)


async def test_welcome_names_all_masters(pair: Pair) -> None:
    leader, follower = pair

    async def both() -> bool:
        worker = leader.new_worker()
        welcome = await worker.connect()
        return set(welcome.masters) == {"http://one.test", "http://two.test"}

    await eventually(both, "the leader to know of the follower")
    listed = (await follower.api.get("/cluster")).json["masters"]
    assert {master["advertiseUrl"] for master in listed} == {"http://one.test", "http://two.test"}


async def test_all_masters_name_the_same_leader(pair: Pair) -> None:
    leader, _ = pair
    told = [(await master.api.get("/cluster")).json for master in pair]
    leading = leader.server.context.options.master_id
    assert [overview["leader"] for overview in told] == [leading, leading]
    for overview in told:
        assert [known["masterId"] for known in overview["masters"] if known["leader"]] == [leading]


async def test_masters_are_told_with_their_beats_and_nodes(pair: Pair) -> None:
    leader, follower = pair
    await follower.worker("one")
    await follower.worker("two")

    async def told() -> bool:
        listed = (await leader.api.get("/cluster")).json["masters"]
        known = {item["advertiseUrl"]: item for item in listed}
        one, two = known["http://one.test"], known["http://two.test"]
        epoch = leader.server.context.epoch
        if epoch is None:
            return False  # on a busy machine a lease of a second may lapse, and is taken again
        assert (one["leader"], one["epoch"], one["nodes"]) == (True, epoch, 0)
        assert (two["leader"], two["epoch"]) == (False, None)
        assert (await leader.api.node("one"))["masterId"] == two["masterId"]
        return bool(two["alive"] and two["nodes"] == 2 and two["beatAgeSeconds"] < SHORT_LEASE_SECONDS)

    await eventually(told, "the leader to know of the follower's nodes")


async def test_a_master_that_has_gone_without_a_word_falls_silent(masters: Masters) -> None:
    store = masters.make_store()
    await store.open()
    gone = Master(master_id="gone", advertise_url="http://gone.test", version="0.0.9")
    await store.register_master(gone)
    await store.close()
    master = await masters.start("one", lease_seconds=SHORT_LEASE_SECONDS)

    async def silent() -> bool:
        first = (await master.api.get("/cluster")).json["masters"][0]
        assert (first["masterId"], first["version"]) == ("gone", "0.0.9")
        return first["alive"] is False and first["beatAgeSeconds"] >= 2 * SHORT_LEASE_SECONDS

    await eventually(silent, "the master to be silent")
    assert master.server.context.master_urls() == ("http://one.test",)


async def test_a_leader_that_stops_hands_over(pair: Pair) -> None:
    leader, follower = pair
    worker = await follower.worker(slots=2)
    task = await leader.api.submit()
    work = await worker.assigned(task["taskId"])
    await leader.stop()
    await eventually(lambda: _leads(follower), "the follower to lead")
    assert (await follower.api.get("/cluster")).json["epoch"] == 2
    second = await follower.api.submit()
    await worker.assigned(second["taskId"])
    third = await follower.api.submit()
    assert "slots" in third["schedulingError"]  # it knows what the last leader gave away
    assert await worker.end(work) == "applied"
    await worker.assigned(third["taskId"])


async def test_a_worker_that_moves_to_the_other_master_goes_on(pair: Pair) -> None:
    leader, follower = pair
    worker = await leader.worker()
    task = await leader.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    moved = follower.new_worker()
    welcome = await moved.connect([held(work)])
    assert welcome.session_no == 2 and welcome.desired.stop == ()
    assert await moved.end(work) == "applied"
    assert (await leader.until_status(task["taskId"], "completed"))["attempt"] == 1
    await worker.ended()  # its beats do not count any more


# Handing over and taking over


async def test_a_leader_that_stops_is_followed_within_a_second(masters: Masters) -> None:
    """By the hint of its resignation: the lease would last far longer, and so would the next look."""
    leader, follower = [await masters.start(name, lease_seconds=60.0) for name in ("one", "two")]
    assert not await _leads(follower)
    stopping = asyncio.create_task(leader.stop())
    began = time.monotonic()
    await eventually(lambda: _leads(follower), "the follower to lead")
    took = time.monotonic() - began
    await stopping
    assert took < 1.0


async def test_a_leader_with_work_in_hand_resigns_first(masters: Masters) -> None:
    leader, follower = [await masters.start(name, lease_seconds=60.0) for name in ("one", "two")]
    task = await leader.api.submit()
    async with leader.api.stream(f"/tasks/{task['taskId']}/logs", follow="true"):
        stopping = asyncio.create_task(leader.server.stop())
        await eventually(lambda: _leads(follower), "the follower to lead", 1.5)
    await stopping
    await leader.api.close()
    assert (await follower.api.submit())["status"] == "pending"


# The store goes away


@pytest.fixture
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A server that a test may stop."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder / "embedded")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_without_its_store_a_master_says_so_and_comes_back(own_postgres: EmbeddedPostgres) -> None:
    dsn = own_postgres.dsn
    masters = Masters("embedded", lambda: PostgresStore(dsn, pool_size=5))
    try:
        master = await masters.start("one")
        worker = await master.worker()
        task = await master.api.submit()
        work = await worker.assigned(task["taskId"])
        await worker.start(work)
        await own_postgres.stop()
        await _is_away(master)
        await own_postgres.start()
        await eventually(lambda: _is_ready(master), "the master to be ready again", 15)
        new = await master.api.submit()
        worker = master.new_worker()
        desired = (await worker.connect([held(work)])).desired
        assert desired.stop == ()
        await worker.assigned(new["taskId"])
        assert await worker.end(work) == "applied"
        assert (await master.api.task(task["taskId"]))["attempt"] == 1
    finally:
        await masters.stop()


async def _is_away(master: RunningMaster) -> None:
    for method, path, body in [
        ("GET", "//ready", None),
        ("GET", "/tasks", None),
        ("POST", "/tasks", {"name": "job", "image": "a"}),
        ("GET", "/tasks/some", None),
        ("GET", "/nodes", None),
        ("POST", "/nodes/register", {"hostname": "a.test", "port": 8071, "capacity": 1}),
    ]:
        answer = await master.api.call(method, path, body)
        assert (answer.status, answer.code) == (503, "store_unavailable"), (path, answer.text)
        assert int(answer.headers["Retry-After"]) >= 1
        assert "password" not in answer.text and "postgres://" not in answer.text
    assert (await master.api.get("//health")).status == 200


async def _is_ready(master: RunningMaster) -> bool:
    return (await master.api.get("//ready")).status == 200
