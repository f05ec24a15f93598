"""What a master counts, as Prometheus reads it and as JSON, and the dashboard that shows it."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podling.core.errors import StoreUnavailable
from podling.kit.metrics import Gauge, Histogram, exposition, quantile
from podling.master.measured_store import measured
from podling.master.measures import Measures
from podling.master.sampler import Sampler
from podling.master.sessions.registry import Sessions
from podling.store.ports.inbox import InboxKind
from tests.master.masters import Masters, RunningMaster, eventually
from tests.master.world import Faulty, World, away, insert

DASHBOARD = Path(__file__).parents[2] / "docs/grafana-dashboard.json"
WORKER = Path(__file__).parents[2] / "podling/worker"


async def scraped(master: RunningMaster) -> dict[str, float]:
    """Return every sample as `name{label=text,…}`."""
    answer = await master.api.get("//metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={text}" for name, text in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def test_a_task_is_counted_on_its_way(master: RunningMaster) -> None:
    worker = await master.worker()
    waiting = await master.api.submit(runAt="2100-01-01T00:00:00Z")
    task = await master.api.submit()
    work = await worker.assigned(task["taskId"])
    await worker.start(work)
    running = await scraped(master)
    assert running["podling_tasks{status=running}"] == 1
    await worker.end(work)
    await master.until_status(task["taskId"], "completed")
    found = await scraped(master)
    for move in (
        "after=pending,before=new",
        "after=running,before=scheduled",
        "after=completed,before=running",
    ):
        wanted = 2.0 if "new" in move else 1.0
        assert found[f"podling_task_transitions_total{{{move}}}"] == wanted, move
    for histogram in ("schedule", "start"):
        assert found[f"podling_task_{histogram}_seconds_count{{}}"] == 1
    assert found["podling_task_end_seconds_count{status=completed}"] == 1
    assert found["podling_commit_batch_tasks_count{}"] >= 4
    assert found["podling_store_call_seconds_count{call=commit}"] >= 4
    assert found["podling_tasks{status=running}"] == 0
    assert (
        found["podling_sessions{}"] == found["podling_nodes{state=online}"] == found["podling_leader{}"] == 1
    )
    assert found["podling_leader_epoch{}"] == 1
    assert found["podling_asyncio_tasks{}"] > 5
    assert found["process_open_fds{}"] > 5
    submitted = "method=POST,route=/api/v1/tasks,status=201"
    assert found[f"podling_http_request_seconds_count{{{submitted}}}"] == 2
    assert not any(waiting["taskId"] in name or task["taskId"] in name for name in found)

    async def counted() -> bool:
        sampler = master.server.sampler
        sampler._counted_at = None
        await sampler.run_once()
        return sampler.pending.later == 1

    await eventually(counted, "the pending task to be counted")
    assert (await scraped(master))["podling_pending_tasks{kind=later}"] == 1


async def test_paths_that_somebody_makes_up_do_not_grow_the_metrics(master: RunningMaster) -> None:
    async def make_up(index: int) -> int:
        await master.api.get(f"/made-up-{index}")
        await master.api.get(f"/tasks/made-up-{index}")
        await master.api.call(f"X{index}", "/tasks")
        return sum(name.startswith("podling_http") for name in await scraped(master))

    await make_up(0)
    before = await make_up(1)
    assert [await make_up(index) for index in range(2, 10)] == [before] * 8


async def test_a_follower_shows_its_own_work_and_what_is_live(masters: Masters) -> None:
    leader, follower = await masters.start("a"), await masters.start("b")
    worker = await leader.worker()
    task = await leader.api.submit()
    await worker.start(await worker.assigned(task["taskId"]))

    async def known() -> bool:
        return (await scraped(follower))["podling_tasks{status=running}"] == 1

    await eventually(known, "the follower to know of the task")
    found = await scraped(follower)
    assert (found["podling_leader{}"], found["podling_leader_epoch{}"]) == (0, 0)
    assert found["podling_sessions{}"] == 0
    assert not any(name.startswith("podling_task_transitions") for name in found)


async def test_a_scrape_does_not_ask_the_store(master: RunningMaster) -> None:
    await master.api.submit()
    calls = master.server.context.measures.store
    names = {"count_pending", "list_tasks", "load_tasks", "count_tasks"}

    def count() -> int:
        return sum(sum(cell.counts) for (name,), cell in calls.cells.items() if name in names)

    before = count()
    for _ in range(10):
        await scraped(master)
        assert (await master.api.get("/metrics")).status == 200
    assert count() - before <= 2  # the sampler's own


async def test_the_last_minute_is_told_as_json(master: RunningMaster) -> None:
    await master.server.sampler.run_once()
    for _ in range(5):
        await master.api.submit()
    found = (await master.api.get("/metrics")).json
    assert found["masterId"] == master.server.context.options.master_id
    assert (found["leader"], found["epoch"]) == (True, 1)
    assert found["rates"]["submitted"] > 0
    commits = found["latencies"]["commitSeconds"]
    assert commits["count"] >= 5
    assert 0 < commits["p50"] <= commits["p99"]
    assert found["asyncioTasks"] == pytest.approx(len(asyncio.all_tasks()), abs=5)
    assert set(found["latencies"]) >= {"scheduleSeconds", "startSeconds", "endSeconds", "loopLagSeconds"}
    assert found["residentBytes"] > 2**20


async def test_metrics_are_for_those_who_may_read(masters: Masters) -> None:
    master = await masters.start(token="a-secret-token-that-is-long")
    for path in ("//metrics", "/metrics"):
        stranger = await master.api.call("GET", path, headers={"Authorization": "Bearer no"})
        assert stranger.status == 401
        assert (await master.api.get(path)).status == 200


async def test_calls_of_the_store_that_fail_are_counted(world: World) -> None:
    measures = Measures()
    faulty = Faulty(world.store)
    faulty.before["count_pending"] = away
    store = measured(faulty, measures)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await store.count_pending(1)
    assert measures.store_failures.values == {("count_pending",): 1.0}
    assert sum(measures.store.counts()) == 1


async def test_what_nobody_takes_in_is_counted_with_its_age(world: World) -> None:
    context = world.context()
    await world.store.inbox.put(InboxKind.SUBMIT, context.new_id(), '{"name": "job"}')
    sampler = Sampler(context, cast(Sessions, FewSessions()))
    await sampler.run_once()
    inbox = sampler.overview()["inbox"]
    assert inbox["items"] == 1 and 0 <= inbox["oldestSeconds"] < 60
    told = {one.name: dict(one.values) for one in sampler.instruments() if isinstance(one, Gauge)}
    assert told["podling_inbox_items"] == {(): 1}
    assert told["podling_inbox_oldest_seconds"][()] == inbox["oldestSeconds"]


class FewSessions:
    def all(self) -> list[Any]:
        return []


async def test_pending_tasks_are_counted_up_to_a_bound(world: World) -> None:
    context = world.context()
    for _ in range(4):
        await insert(context)
    assert (await world.store.count_pending(100)).ready == 4
    assert (await world.store.count_pending(3)).ready == 3


def test_quantiles_come_from_the_bounds() -> None:
    histogram = Histogram("x", "X.", (), (1.0, 2.0, 4.0))
    for number in (0.5, 1.5, 1.5, 1.5, 3.0, 9.0):
        histogram.observe(number)
    counts = histogram.counts()
    assert counts == [1, 3, 1, 1]
    assert quantile(histogram.bounds, counts, 0.5) == pytest.approx(1.0 + 2 / 3)
    assert quantile(histogram.bounds, counts, 0.99) == 4.0
    assert quantile(histogram.bounds, [0, 0, 0, 0], 0.5) is None
    text = exposition([histogram]).decode()
    assert 'x_bucket{le="2"} 4.0' in text or 'x_bucket{le="2.0"} 4.0' in text
    assert "x_sum 17.0" in text


async def test_the_dashboard_asks_for_what_there_is(master: RunningMaster) -> None:
    answer = await master.api.get("//metrics")
    known = set(re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE))
    known |= set(
        re.findall(
            r'"(podling_worker_[a-z_]+)"',
            (WORKER / "measures.py").read_text() + (WORKER / "instruments.py").read_text(),
        )
    )
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 15
    for query in queries:
        asked = set(re.findall(r"\b(?:podling|process)_[a-z_]+", query))
        assert asked, query
        for name in asked:
            plain = re.sub(r"_(bucket|sum|count|total)$", "", name)
            assert {name, plain, f"{plain}_total"} & known, (name, query)
