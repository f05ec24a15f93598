"""What operators say of queues is kept by the planner: caps, keys, rates, pauses, weights, ageing."""

from datetime import UTC, datetime, timedelta
from typing import Any

from podling.core.protocol import Assignment
from tests.master.fake_worker import FakeWorker
from tests.master.masters import Masters, RunningMaster, eventually


class Line:
    """A worker, and what of one queue it was given, in order."""

    def __init__(self, master: RunningMaster, worker: FakeWorker) -> None:
        self._master = master
        self._worker = worker
        self.names: dict[str, str] = {}

    async def submit(self, *names: str, **fields: Any) -> list[str]:
        made = [await self._master.api.submit(name=name, **({"queue": "etl"} | fields)) for name in names]
        self.names |= {task["taskId"]: task["name"] for task in made}
        return [task["taskId"] for task in made]

    def given(self) -> list[str]:
        return [self.names[work.task_id] for work in self._worker.assignments if work.task_id in self.names]

    async def until(self, count: int) -> list[str]:
        await self._worker.until(lambda: len(self.given()) >= count, f"{count} assignments")
        return self.given()

    async def end(self, name: str, **fields: Any) -> None:
        await self._worker.end(self.work(name), **fields)

    def work(self, name: str) -> Assignment:
        return next(item for item in self._worker.assignments if self.names.get(item.task_id) == name)

    async def others_go_on(self) -> None:
        """Return when a task of another queue has been given out: the planner has been there since."""
        other = await self._master.api.submit(queue="other")
        await self._worker.end(await self._worker.assigned(other["taskId"]))


async def line_of(master: RunningMaster, queue: str = "etl", slots: int = 10, **policy: Any) -> Line:
    if policy:
        assert (await master.api.put(f"/queues/{queue}", policy)).status in (200, 201)
    return Line(master, await master.worker(slots=slots))


async def test_a_queue_has_no_more_in_flight_than_its_cap(master: RunningMaster) -> None:
    line = await line_of(master, maxInFlight=2)
    await line.submit(*"abcde")
    assert await line.until(2) == ["a", "b"]
    await line.others_go_on()
    assert line.given() == ["a", "b"]
    await line.end("b")
    assert await line.until(3) == ["a", "b", "c"]
    await line.others_go_on()
    assert line.given() == ["a", "b", "c"]


async def test_the_whole_cluster_has_a_cap_too(master: RunningMaster) -> None:
    line = await line_of(master, queue="*", maxInFlight=1)
    first, second = await line.submit("a", "b")
    assert await line.until(1) == ["a"]
    explained = (await master.api.get(f"/tasks/{second}/explain")).json
    assert explained["reasons"][0]["code"] == "IN_FLIGHT_EXCEEDED"
    assert "the cluster has 1 of 1 in flight" in explained["summary"]
    await line.end("a")
    assert await line.until(2) == ["a", "b"]
    assert (await master.api.task(first))["status"] == "completed"


async def test_a_key_is_held_by_one_task_of_any_queue(master: RunningMaster) -> None:
    line = await line_of(master)
    holder, *_ = await line.submit("a", "b", "c", concurrencyKey="db")
    (other,) = await line.submit("d", queue="mail", concurrencyKey="db")
    await line.submit("e")
    assert await line.until(2) == ["a", "e"]
    explained = (await master.api.get(f"/tasks/{other}/explain")).json
    assert explained["reasons"][0]["code"] == "KEY_IN_FLIGHT"
    assert holder in explained["summary"]
    await line.end("a")
    assert await line.until(3) == ["a", "e", "b"]
    await line.end("b", exit_code=1)
    assert (await line.until(4))[3:] == ["c"]
    await line.end("c")
    assert (await line.until(5))[4:] == ["d"]


async def test_a_queue_can_let_more_tasks_share_a_key(master: RunningMaster) -> None:
    line = await line_of(master, maxPerKey=2, maxInFlight=3)
    await line.submit("a", "b", "c", concurrencyKey="x")
    await line.submit("d", "e", concurrencyKey="y")
    assert await line.until(3) == ["a", "b", "d"]
    await line.others_go_on()
    await line.end("d")
    assert (await line.until(4))[3:] == ["e"]
    await line.end("a")
    assert (await line.until(5))[4:] == ["c"]


async def test_a_paused_queue_starts_nothing_and_takes_submits(master: RunningMaster) -> None:
    line = await line_of(master, maxInFlight=5)
    await line.submit("a")
    await line.until(1)
    assert (await master.api.post("/queues/etl/pause")).status == 200
    (waiting, _) = await line.submit("b", "c")
    await line.others_go_on()
    assert line.given() == ["a"]
    explained = (await master.api.get(f"/tasks/{waiting}/explain")).json
    assert (explained["reasons"][0]["code"], explained["queuePosition"]) == ("QUEUE_PAUSED", 1)
    assert "podling queue resume etl" in explained["advice"]
    assert (await master.api.post("/queues/etl/resume")).status == 200
    assert await line.until(3) == ["a", "b", "c"]


async def test_tasks_that_were_ready_before_are_bound_by_a_new_limit(master: RunningMaster) -> None:
    line = Line(master, master.new_worker())
    await line.submit(*"abc")
    assert (await master.api.put("/queues/etl", {"maxInFlight": 1})).status == 200
    await line._worker.connect()
    assert await line.until(1) == ["a"]
    await line.others_go_on()
    assert line.given() == ["a"]
    assert (await master.api.put("/queues/etl", {})).status == 200
    assert await line.until(3) == ["a", "b", "c"]


async def test_starts_within_a_minute_are_counted_over_a_takeover(masters: Masters) -> None:
    first = await masters.start("one")
    line = await line_of(first, maxPerMinute=3)
    ids = await line.submit(*"abcde")
    assert await line.until(3) == ["a", "b", "c"]
    for name in "abc":
        await line.end(name)
    explained = (await first.api.get(f"/tasks/{ids[3]}/explain")).json
    reason = explained["reasons"][0]
    assert (reason["code"], reason["details"]["maxPerMinute"]) == ("RETRY_RATE_EXCEEDED", 3)
    started = datetime.fromisoformat(
        (await first.api.get(f"/tasks/{ids[0]}/attempts")).json[0]["scheduledAt"]
    )
    assert datetime.fromisoformat(explained["nextEventAt"]) == started + timedelta(seconds=60)
    second = await masters.start("two")
    await first.stop_server()

    async def has_taken_over() -> bool:
        return second.server.context.leads

    await eventually(has_taken_over, "the second master to lead")
    line._master, line._worker.url = second, second.url
    await line._worker.connect()
    await line.others_go_on()
    assert [(await second.api.task(task_id))["status"] for task_id in ids[3:]] == ["pending"] * 2
    assert started < datetime.now(UTC) < started + timedelta(seconds=60)


async def test_a_queue_that_was_full_rests(master: RunningMaster) -> None:
    line = await line_of(master, maxInFlight=1, throttleDelaySeconds=3600)
    _, second = await line.submit("a", "b")
    await line.until(1)
    await line.others_go_on()
    await line.end("a")
    await line.others_go_on()
    assert line.given() == ["a"]
    explained = (await master.api.get(f"/tasks/{second}/explain")).json
    assert explained["reasons"][0]["code"] == "IN_FLIGHT_EXCEEDED" and explained["nextEventAt"]
    await master.api.put("/queues/etl", {"maxInFlight": 1})
    assert await line.until(2) == ["a", "b"]


async def test_queues_take_turns_by_their_weights(master: RunningMaster) -> None:
    assert (await master.api.put("/queues/heavy", {"weight": 3})).status == 201
    line = Line(master, master.new_worker(slots=1))
    await line.submit(*(f"light-{number}" for number in range(6)), queue="light")
    await line.submit(*(f"heavy-{number}" for number in range(6)), queue="heavy")
    await line._worker.connect()
    for count in range(1, 9):
        name = (await line.until(count))[-1]
        await line.end(name)
    begun = line.given()[:8]
    assert [name for name in begun if "heavy" in name] == [f"heavy-{number}" for number in range(6)]
    assert [name for name in begun if "light" in name] == ["light-0", "light-1"]


async def test_waiting_counts_as_priority_where_a_queue_ages(master: RunningMaster) -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    line = Line(master, master.new_worker(slots=1))
    assert (await master.api.put("/queues/etl", {"ageingSeconds": 600})).status == 201
    await line.submit("low", priority=0, runAt=long_ago)
    await line.submit("middle", priority=5)
    await line.submit("high", priority=7)
    await line._worker.connect()
    for count in range(1, 4):
        await line.end((await line.until(count))[-1])
    assert line.given() == ["high", "low", "middle"]


async def test_a_delay_is_one_decision_per_task_and_reason(master: RunningMaster) -> None:
    line = await line_of(master, maxInFlight=1)
    ids = await line.submit(*"abc")
    await line.until(1)

    async def told() -> Any:
        found = (await master.api.get("/decisions", code="IN_FLIGHT_EXCEEDED")).json
        return found if {item["taskId"] for item in found} == set(ids[1:]) else None

    found = await eventually(told, "the decisions")
    assert len(found) == 2 and all(item["door"] is None for item in found)
    assert found[0]["details"] == {"queue": "etl", "inFlight": 1, "maxInFlight": 1}
    assert (await master.api.get("/ingest/decisions")).json == []
    timeline = (await master.api.get(f"/tasks/{ids[1]}/timeline")).json
    assert [item["type"] for item in timeline] == ["submitted", "IN_FLIGHT_EXCEEDED"]
    assert "queue etl has 1 of 1 in flight" in timeline[1]["message"]


async def test_a_list_tells_what_a_queue_holds_back(masters: Masters) -> None:
    leader, follower = await masters.start("one"), await masters.start("two")
    line = await line_of(leader, maxInFlight=1)
    await line.submit("a", "b")
    await line.submit("c", queue="mail", concurrencyKey="db")
    await line.submit("d", queue="mail", concurrencyKey="db")
    await line.until(2)
    await follower.server.context.queues.learn()
    told = {
        "a": None,
        "b": "queue etl has 1 of 1 in flight",
        "c": None,
        "d": "the concurrency key 'db' has 1 of 1 in flight",
    }
    for master in (leader, follower):

        async def is_told(master: RunningMaster = master) -> bool:
            listed = (await master.api.get("/tasks")).json
            return {task["name"]: task["schedulingError"] for task in listed} == told

        await eventually(is_told, "the reasons to be listed")


async def test_what_a_follower_takes_waits_in_line_too(masters: Masters) -> None:
    leader, follower = await masters.start("one"), await masters.start("two")
    line = await line_of(leader, maxInFlight=1)
    await follower.server.context.queues.learn()
    line._master = follower
    await line.submit(*"abc")
    assert await line.until(1) == ["a"]

    async def is_told() -> bool:
        return bool((await follower.api.get("/queues/etl")).json["running"] == 1)

    await eventually(is_told, "the follower to know what runs")
    await line.end("a")
    assert await line.until(2) == ["a", "b"]
    assert await leader.server.context.store.ready_page(10) == []
