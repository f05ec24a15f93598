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
from podling.core.lifecycle import (
    Assign,
    Cancel,
    Deadline,
    Event,
    Lose,
    QueueTimeout,
    Resolve,
    RetryNow,
    apply,
)
from podling.core.node import NodeStatus
from podling.core.protocol import ReportKind
from podling.core.spec import Delivery, OnLost
from podling.core.task import AttemptStatus, HealthStatus, StopReason, Task, TaskStatus
from podling.store.base import Batch, LogTail, Store, TaskQuery, TaskWrite, WriteResult, WriteStatus
from podling.store.memory.store import MemoryStore
from tests.builders import NOW, build_master, build_node, build_task, change_of, insertion, reported, seconds
from tests.postgres_servers import PostgresServer
from tests.store.observations import MANY, observe, observe_feed, observe_task

MASTERS = ("m1", "m2")
NODES = ("n1", "n2", "n3")
SHAPES = ("s1", "s2")
LABELS = ({}, {"app": "web"}, {"app": "w_b", "tier": "%"})
LIVE_ROWS = {AttemptStatus.SCHEDULED, AttemptStatus.RUNNING}

submissions = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([0, 0, 5, -5]),
        "wait": st.sampled_from([0.0, 0.0, -10.0, 20.0]),
        "shape": st.sampled_from(SHAPES),
        "labels": st.sampled_from(LABELS),
        "idempotency_key": st.sampled_from([None, None, "k1", "k2", "k3"]),
        "max_attempts": st.sampled_from([1, 3]),
        "max_losses": st.sampled_from([0, 2]),
        "queue_timeout_seconds": st.sampled_from([None, None, 15.0]),
        "deadline_seconds": st.sampled_from([None, None, 40.0]),
        "delivery": st.sampled_from(Delivery),
        "on_lost": st.sampled_from(OnLost),
    }
)

reports = st.one_of(
    st.fixed_dictionaries({"kind": st.just(ReportKind.RUNNING)}),
    st.fixed_dictionaries(
        {"kind": st.just(ReportKind.UPDATE), "health_status": st.sampled_from(HealthStatus)}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just(ReportKind.ENDED),
            "exit_code": st.sampled_from([0, 1, None]),
            "error_code": st.sampled_from([None, "EXIT_CODE", "RUNTIME"]),
            "stopped_by": st.sampled_from([None, StopReason.CANCEL, StopReason.DEADLINE]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just(ReportKind.REFUSED), "error": st.just("no disk")}),
)

PENDING_EVENTS = st.one_of(
    st.sampled_from(NODES).map(lambda node_id: Assign(node_id=node_id)),
    st.sampled_from([RetryNow(), QueueTimeout(), Deadline(), Cancel()]),
)
LIVE_EVENTS = st.one_of(
    reports,
    reports,
    st.sampled_from([Cancel(), Deadline(), *(Resolve(outcome=word) for word in ("retry", "completed"))]),
    st.just("lose"),
)


class StoreMachine(RuleBasedStateMachine):
    """Operations go to both stores; `tasks` is what both must hold of them."""

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        postgres = self.run(self.stack.enter_async_context(server.store()))
        self.stores: tuple[Store, Store] = (MemoryStore(), postgres)
        self.now = NOW
        self.number = dict.fromkeys(MASTERS, 0)
        self.submitted = 0
        self.tasks: dict[str, Task] = {}
        self.ended: dict[str, Task] = {}
        self.delayed: list[TaskWrite] = []
        self.last: tuple[Batch, list[WriteResult]] | None = None
        self.touched: set[str] = set()

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

    @rule(data=st.data(), master_id=st.sampled_from(MASTERS), count=st.integers(1, 4))
    def commit(self, data: st.DataObject, master_id: str, count: int) -> None:
        """Several writes at once, each made from what the ones before it in the batch have made."""
        known = dict(self.tasks)
        writes = [write for _ in range(count) if (write := self.draw_write(data, known)) is not None]
        self.commit_writes(writes, master_id, self.draw_epoch(data))

    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        """A write that another master has decided on and not yet committed."""
        write = self.draw_write(data, dict(self.tasks))
        if write is not None:
            self.delayed.append(write)

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
        task = self.draw_task(data, TaskStatus.SCHEDULED, TaskStatus.RUNNING)
        event = reported(replace(task, attempt=task.attempt + offset), **report)
        with pytest.raises(StaleAttempt):
            apply(task, event, self.now)
        with pytest.raises(StaleAttempt):
            apply(task, replace(reported(task, **report), node_id="elsewhere"), self.now)

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
        if len(known) < 2 or data.draw(st.integers(0, 3)) == 0:
            write = self.draw_insertion(data)
        else:
            changed = self.draw_change(data, known)
            if changed is None:
                return None
            write = changed
        known[write.task.task_id] = write.task
        return write

    def draw_insertion(self, data: st.DataObject) -> TaskWrite:
        fields = data.draw(submissions)
        wait = fields.pop("wait")
        self.submitted += 1
        if fields["delivery"] is Delivery.AT_MOST_ONCE:
            fields["max_attempts"] = 1
        task = build_task(
            task_id=f"t{self.submitted:03}", created_at=self.now, run_at=self.now + seconds(wait), **fields
        )
        return insertion(task, data.draw(st.sampled_from(["hash", "other"])))

    def draw_change(self, data: st.DataObject, known: dict[str, Task]) -> TaskWrite | None:
        task = known[data.draw(st.sampled_from(sorted(known)))]
        event = self.draw_event(data, task)
        try:
            transition = apply(task, event, self.now)
        except PodlingError:
            return None
        return None if transition.task is task else change_of(task, transition)

    def draw_event(self, data: st.DataObject, task: Task) -> Event:
        if not task.status.is_live:
            event: Event = data.draw(PENDING_EVENTS)
            return event
        drawn = data.draw(LIVE_EVENTS)
        if isinstance(drawn, dict):
            return reported(task, **({"at": self.now} | drawn))
        if drawn == "lose":
            return Lose(attempt=task.attempt, reason="the node is lost")
        chosen: Event = drawn
        return chosen

    def draw_task(self, data: st.DataObject, *statuses: TaskStatus) -> Task:
        ids = sorted(task_id for task_id, task in self.tasks.items() if task.status in statuses)
        return self.tasks[data.draw(st.sampled_from(ids))]

    # The ready order

    @rule(wait=st.sampled_from([1.0, 10.0, 60.0]))
    def time_passes(self, wait: float) -> None:
        self.now += seconds(wait)

    @rule()
    def promote(self) -> None:
        self.both(lambda store: store.promote(self.now, MANY))

    @rule(data=st.data())
    def block(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([*sorted(self.tasks), "nobody"]), max_size=4))
        epoch = self.draw_epoch(data) or 0
        self.both(lambda store: store.block(ids, epoch))

    @rule(data=st.data(), shapes=st.none() | st.lists(st.sampled_from(SHAPES), max_size=2))
    def unblock(self, data: st.DataObject, shapes: list[str] | None) -> None:
        epoch = self.draw_epoch(data) or 0
        self.both(lambda store: store.unblock(shapes, epoch, MANY))

    @rule(data=st.data(), limit=st.integers(1, 4))
    def look(self, data: st.DataObject, limit: int) -> None:
        """Lists, pages and counts that take arguments."""
        skipped = data.draw(st.lists(st.sampled_from([*sorted(self.tasks), "nobody"]), max_size=3))
        self.both(lambda store: _listed(store.ready_page(limit, skipped)))
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

    @rule(data=st.data())
    def read_the_feed(self, data: st.DataObject) -> None:
        cursors = {name: data.draw(st.integers(0, self.number[name])) for name in MASTERS}
        self.both(lambda store: observe_feed(store, cursors, MANY))

    # Masters and leadership

    def draw_epoch(self, data: st.DataObject) -> int | None:
        """Return no epoch, the present one, or one that has passed."""
        present = self.run(self.stores[0].leadership()).epoch
        return data.draw(st.sampled_from([None, present, present, max(0, present - 1)]))

    @initialize()
    def begin(self) -> None:
        self.take_leadership(MASTERS[0], stale=False)
        for node_id in NODES[:2]:
            self.open_session(node_id)

    @rule(master_id=st.sampled_from(MASTERS), stale=st.booleans())
    def take_leadership(self, master_id: str, stale: bool) -> None:
        seen = self.run(self.stores[0].leadership())
        if stale:
            seen = replace(seen, counter=seen.counter + 1)
        epoch = self.both(lambda store: store.take_leadership(master_id, seen))
        assert epoch == (None if stale else seen.epoch + 1)

    @rule(master_id=st.sampled_from(MASTERS), back=st.integers(0, 1), resigns=st.booleans())
    def renew_or_resign(self, master_id: str, back: int, resigns: bool) -> None:
        epoch = self.run(self.stores[0].leadership()).epoch - back
        if resigns:
            self.both(lambda store: store.resign_leadership(master_id, epoch))
        else:
            self.both(lambda store: store.renew_leadership(master_id, epoch))

    @rule(master_id=st.sampled_from(MASTERS), what=st.sampled_from(["register", "beat", "beat", "remove"]))
    def change_masters(self, master_id: str, what: str) -> None:
        match what:
            case "register":
                self.both(lambda store: store.register_master(build_master(master_id)))
            case "beat":
                self.both(lambda store: _listed(store.beat_master(master_id)))
            case _:
                self.both(lambda store: store.remove_master(master_id))

    # Nodes

    @rule(node_id=st.sampled_from(NODES))
    def open_session(self, node_id: str) -> None:
        node = build_node(node_id, last_heartbeat=self.now, registered_at=self.now)
        self.both(lambda store: store.open_session(node))

    @rule(
        node_id=st.sampled_from(NODES),
        number=st.integers(0, 2),
        expected=st.none() | st.integers(0, 2),
        status=st.sampled_from(NodeStatus),
    )
    def save_node(self, node_id: str, number: int, expected: int | None, status: NodeStatus) -> None:
        node = build_node(node_id, session_no=number, status=status, last_heartbeat=self.now, cordoned=True)
        self.both(lambda store: store.save_node(node, expected))

    @rule(sessions=st.dictionaries(st.sampled_from(NODES), st.integers(0, 3)))
    def beat(self, sessions: dict[str, int]) -> None:
        self.both(lambda store: store.beat(sessions, self.now))

    @rule(data=st.data(), node_id=st.sampled_from(NODES), behind=st.sampled_from([0, 0, 1]))
    def mark_lost(self, data: st.DataObject, node_id: str, behind: int) -> None:
        epoch = self.draw_epoch(data) or 0
        beats = {beat.node_id: beat for beat in self.run(self.stores[0].load_beats())}
        seen = beats[node_id].counter - behind if node_id in beats else 0
        self.both(lambda store: store.mark_lost(node_id, seen, epoch))

    @rule(node_id=st.sampled_from(NODES))
    def remove_node(self, node_id: str) -> None:
        self.both(lambda store: store.remove_node(node_id))

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
        seen = self.both(lambda store: observe(store, self.now, [*self.tasks, "nobody"]))
        assert seen["tasks"] == self.tasks
        touched, self.touched = self.touched, set()
        for task_id in sorted(touched):
            rows = self.both(lambda store, task_id=task_id: observe_task(store, task_id))
            self.check_attempts(self.tasks[task_id], rows["attempts"])
            self.check_end(self.tasks[task_id])

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


async def _listed(asked: Awaitable[Any]) -> list[Any]:
    return list(await asked)
