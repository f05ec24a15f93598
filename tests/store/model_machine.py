"""The machine of `test_model`: rules that make random but meaningful operations."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from podling.core.errors import PodlingError, StaleAttempt, StaleEpoch
from podling.core.lifecycle import apply
from podling.core.node import Drain, NodeStatus
from podling.core.task import AttemptStatus, Task, TaskStatus
from podling.store.base import Batch, LogTail, Store, TaskQuery, TaskWrite, WriteResult, WriteStatus
from podling.store.memory.store import MemoryStore
from tests.builders import NOW, build_master, build_node, change_of, reported, seconds
from tests.postgres_servers import PostgresServer
from tests.store.model_draws import LABELS, NODES, SHAPES, events, insertions, reports
from tests.store.observations import MANY, observe_cluster, observe_feed, observe_queue, observe_task

MASTERS = ("m1", "m2")
LIVE_ROWS = {AttemptStatus.SCHEDULED, AttemptStatus.RUNNING}


class StoreMachine(RuleBasedStateMachine):
    """Operations go to both stores; `tasks` is what both must hold of them."""

    server: PostgresServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        postgres = self.run(self.stack.enter_async_context(self.server.store()))
        self.stores: tuple[Store, Store] = (MemoryStore(), postgres)
        self.now = NOW
        self.number = dict.fromkeys(MASTERS, 0)
        self.submitted = 0
        self.tasks: dict[str, Task] = {}
        self.ended: dict[str, Task] = {}
        self.delayed: list[TaskWrite] = []
        self.last: tuple[Batch, list[WriteResult]] | None = None
        self.touched: set[str] = set()
        self.steps = 0

    def run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return self.runner.run(wait())

    def teardown(self) -> None:
        try:
            self.run(self.stack.aclose())
        finally:
            self.runner.close()

    def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """Return what both stores answer; a refusal is answered by its class."""
        memory, postgres = (self.run(_answer(ask(store))) for store in self.stores)
        assert memory == postgres
        return memory

    # Tasks

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        for node_id in NODES[:2]:
            self.open_session(node_id)
        self.take_leadership(MASTERS[0], stale=False)
        self.commit_writes([self.draw_insertion(data) for _ in range(3)], MASTERS[0], None)

    @rule(data=st.data(), count=st.integers(1, 5))
    def commit(self, data: st.DataObject, count: int) -> None:
        """A few batches of several writes, each made from what the ones before it have made."""
        for _ in range(3):
            known = dict(self.tasks)
            drawn = [self.draw_write(data, known) for _ in range(count)]
            writes = [write for write in drawn if write is not None]
            self.commit_writes(writes, data.draw(st.sampled_from(MASTERS)), self.draw_epoch(data))

    @rule(data=st.data(), count=st.integers(1, 3))
    def prepare(self, data: st.DataObject, count: int) -> None:
        """Writes that another master has decided on and not yet committed."""
        writes = [self.draw_write(data, dict(self.tasks)) for _ in range(count)]
        self.delayed += [write for write in writes if write is not None]

    @precondition(lambda self: self.delayed)
    @rule(master_id=st.sampled_from(MASTERS))
    def commit_what_was_prepared(self, master_id: str) -> None:
        writes, self.delayed = self.delayed, []
        self.commit_writes(writes, master_id, None)

    @precondition(lambda self: self.last)
    @rule()
    def repeat_the_last_batch(self) -> None:
        assert self.last is not None
        batch, results = self.last
        assert self.both(lambda store: _listed(store.commit(batch))) == results

    @precondition(lambda self: any(task.status.is_live for task in self.tasks.values()))
    @rule(data=st.data(), offset=st.sampled_from([-1, 1]), report=reports)
    def report_of_a_wrong_attempt(self, data: st.DataObject, offset: int, report: dict[str, Any]) -> None:
        """I8: what the core refuses never reaches a store."""
        live = {task_id: task for task_id, task in self.tasks.items() if task.status.is_live}
        task = live[data.draw(st.sampled_from(sorted(live)))]
        wrong_attempt = reported(replace(task, attempt=task.attempt + offset), **report)
        wrong_node = replace(reported(task, **report), node_id="elsewhere")
        for event in (wrong_attempt, wrong_node):
            with pytest.raises(StaleAttempt):
                apply(task, event, self.now)

    def commit_writes(self, writes: list[TaskWrite], master_id: str, epoch: int | None) -> None:
        self.number[master_id] += 1
        batch = Batch(
            master_id=master_id,
            number=self.number[master_id],
            now=self.now,
            tasks=tuple(writes),
            epoch=epoch,
        )
        results = self.both(lambda store: _listed(store.commit(batch)))
        if results is StaleEpoch:
            return
        self.last = (batch, results)
        for write, result in zip(writes, results, strict=True):
            self.take_over(write, result)

    def take_over(self, write: TaskWrite, result: WriteResult) -> None:
        """Say for every write what must have become of it."""
        task = write.task
        known = self.tasks.get(task.task_id)
        if write.expected_version is not None:
            fits = known is not None and known.version == write.expected_version
            assert result.status is (WriteStatus.APPLIED if fits else WriteStatus.CONFLICT)
        elif result.status is WriteStatus.DUPLICATE:
            assert self.tasks[result.task_id].spec.idempotency_key == task.spec.idempotency_key is not None
        else:
            assert result.status is (WriteStatus.CONFLICT if known else WriteStatus.APPLIED)
        if result.status is WriteStatus.APPLIED:
            self.tasks[task.task_id] = task
            self.touched.add(task.task_id)

    def draw_write(self, data: st.DataObject, known: dict[str, Task]) -> TaskWrite | None:
        """Return a write of a known task or a new one, None if the core refuses the event."""
        if len(known) < 2 or data.draw(st.integers(0, 5)) == 5:
            write = self.draw_insertion(data)
        else:
            changed = self.draw_change(data, known)
            if changed is None:
                return None
            write = changed
        known[write.task.task_id] = write.task
        return write

    def draw_insertion(self, data: st.DataObject) -> TaskWrite:
        self.submitted += 1
        return data.draw(insertions(f"t{self.submitted:03}", self.now))

    def draw_change(self, data: st.DataObject, known: dict[str, Task]) -> TaskWrite | None:
        unended = [task_id for task_id, task in known.items() if not task.status.is_terminal]
        task = known[data.draw(st.sampled_from(sorted(unended or known)))]
        event = data.draw(events(task, self.now))
        try:
            transition = apply(task, event, self.now)
        except PodlingError:
            return None
        return None if transition.task is task else change_of(task, transition)

    # The ready order

    @rule(data=st.data(), wait=st.sampled_from([0.0, 1.0, 10.0, 60.0]))
    def change_the_order(self, data: st.DataObject, wait: float) -> None:
        self.now += seconds(wait)
        epoch = self.draw_epoch(data) or 0
        match data.draw(st.sampled_from(["promote", "block", "unblock"])):
            case "promote":
                self.both(lambda store: store.promote(self.now, MANY))
            case "block":
                ids = data.draw(st.lists(st.sampled_from([*sorted(self.tasks), "nobody"]), max_size=4))
                self.both(lambda store: store.block(ids, epoch))
            case _:
                rooms = data.draw(st.dictionaries(st.sampled_from(SHAPES), st.integers(1, 3), max_size=2))
                self.both(lambda store: _put_back(store.unblock(rooms, epoch)))

    @rule(data=st.data(), limit=st.integers(1, 4))
    def look(self, data: st.DataObject, limit: int) -> None:
        """Lists, pages and counts that take arguments."""
        skipped = data.draw(st.lists(st.sampled_from([*sorted(self.tasks), "nobody"]), max_size=3))
        self.both(lambda store: _listed(store.ready_page(limit, skipped)))
        cursors = {name: data.draw(st.integers(0, self.number[name])) for name in MASTERS}
        self.both(lambda store: observe_feed(store, cursors, MANY))
        query = TaskQuery(
            statuses=tuple(data.draw(st.sets(st.sampled_from(TaskStatus), max_size=3))),
            node_id=data.draw(st.sampled_from([None, *NODES])),
            labels=data.draw(st.sampled_from(LABELS)),
            limit=limit,
        )
        page = self.both(lambda store: _listed(store.list_tasks(query)))
        while page:
            last = page[-1]
            self.both(lambda store, task=last: store.ready_ahead_of(task, MANY))
            following = replace(query, after=(last.created_at, last.task_id))
            page = self.both(lambda store, query=following: _listed(store.list_tasks(query)))

    # Masters and leadership

    def draw_epoch(self, data: st.DataObject) -> int | None:
        """Return no epoch, the present one, or one that has passed."""
        present = self.run(self.stores[0].leadership()).epoch
        return data.draw(st.sampled_from([None, present, present, max(0, present - 1)]))

    @rule(data=st.data(), master_id=st.sampled_from(MASTERS))
    def change_masters(self, data: st.DataObject, master_id: str) -> None:
        match data.draw(st.sampled_from(["take", "renew", "resign", "register", "beat", "remove"])):
            case "take":
                self.take_leadership(master_id, data.draw(st.booleans()))
            case "renew":
                epoch = self.draw_epoch(data) or 0
                self.both(lambda store: store.renew_leadership(master_id, epoch))
            case "resign":
                epoch = self.draw_epoch(data) or 0
                self.both(lambda store: store.resign_leadership(master_id, epoch))
            case "register":
                self.both(lambda store: store.register_master(build_master(master_id)))
            case "beat":
                self.both(lambda store: _listed(store.beat_master(master_id)))
            case _:
                self.both(lambda store: store.remove_master(master_id))

    def take_leadership(self, master_id: str, stale: bool) -> None:
        seen = self.run(self.stores[0].leadership())
        if stale:
            seen = replace(seen, counter=seen.counter + 1)
        epoch = self.both(lambda store: store.take_leadership(master_id, seen))
        assert epoch == (None if stale else seen.epoch + 1)

    # Nodes

    @rule(data=st.data(), node_id=st.sampled_from(NODES))
    def change_nodes(self, data: st.DataObject, node_id: str) -> None:
        match data.draw(st.sampled_from(["open", "save", "serve", "beat", "beat", "mark", "mark", "remove"])):
            case "open":
                self.open_session(node_id)
            case "save":
                self.save_node(data, node_id)
            case "serve":
                drain = data.draw(st.none() | st.just(Drain(since=self.now, deadline_seconds=1.5)))
                cordoned = drain is not None or data.draw(st.booleans())
                self.both(lambda store: store.set_service(node_id, cordoned=cordoned, drain=drain))
            case "beat":
                sessions = data.draw(st.dictionaries(st.sampled_from(NODES), st.integers(0, 3)))
                self.both(lambda store: store.beat(sessions, self.now))
            case "mark":
                self.mark_lost(data, node_id)
            case _:
                self.both(lambda store: store.remove_node(node_id))

    def open_session(self, node_id: str) -> None:
        node = build_node(node_id, last_heartbeat=self.now, registered_at=self.now)
        self.both(lambda store: store.open_session(node))

    def save_node(self, data: st.DataObject, node_id: str) -> None:
        node = build_node(
            node_id,
            session_no=data.draw(st.integers(0, 2)),
            status=data.draw(st.sampled_from(NodeStatus)),
            last_heartbeat=self.now,
            cordoned=True,
        )
        expected = data.draw(st.none() | st.integers(0, 2))
        self.both(lambda store: store.save_node(node, expected))

    def mark_lost(self, data: st.DataObject, node_id: str) -> None:
        epoch = self.draw_epoch(data) or 0
        beats = {beat.node_id: beat for beat in self.run(self.stores[0].load_beats())}
        behind = data.draw(st.sampled_from([0, 0, 1]))
        seen = beats[node_id].counter - behind if node_id in beats else 0
        self.both(lambda store: store.mark_lost(node_id, seen, epoch))

    # Logs

    @rule(attempt=st.integers(1, 2), size=st.integers(0, 100), final=st.booleans())
    def save_tail(self, attempt: int, size: int, final: bool) -> None:
        tail = LogTail(task_id="t001", attempt=attempt, frames=bytes(size), dropped_bytes=size, final=final)
        self.both(lambda store: store.save_tails([tail]))
        for number in (1, 2, 3):
            self.both(lambda store, number=number: store.load_tail("t001", number))

    # What must hold

    @invariant()
    def both_show_the_same(self) -> None:
        self.steps += 1
        seen = self.both(lambda store: observe_queue(store, self.now, [*self.tasks, "nobody"]))
        assert seen["tasks"] == self.tasks
        touched, self.touched = self.touched, set()
        for task_id in sorted(touched):
            rows = self.both(lambda store, task_id=task_id: observe_task(store, task_id))
            self.check_attempts(self.tasks[task_id], rows["attempts"])
            self.check_end(self.tasks[task_id])
        if self.steps % 3 == 0:
            self.both(observe_cluster)

    def check_attempts(self, task: Task, rows: list[Any]) -> None:
        """I6 and I7."""
        live = [row.attempt for row in rows if row.status in LIVE_ROWS]
        assert live == ([task.attempt] if task.status.is_live else [])
        assert [row.attempt for row in rows] == list(range(1, task.attempt + 1))

    def check_end(self, task: Task) -> None:
        """I4."""
        if task.status.is_terminal:
            assert self.ended.setdefault(task.task_id, task) == task
        else:
            assert task.task_id not in self.ended


async def _answer(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except PodlingError as error:
        return type(error)


async def _put_back(asked: Awaitable[Any]) -> dict[str, int]:
    """Return what came back; shapes without any may be left out."""
    return {shape: count for shape, count in (await asked).items() if count}


async def _listed(asked: Awaitable[Any]) -> list[Any]:
    return list(await asked)
