"""The store as a whole. No method awaits anything, so each is one transaction."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from podling.core.facts import LATELY, MOST_BLOCKED_SHAPES, MOST_COUNTED_FAILED, StoreFacts
from podling.core.node import Drain, Node, NodeStatus
from podling.core.task import Attempt, Task, TaskEvent, TaskStatus
from podling.kit.clock import Clock, SystemClock
from podling.store.base import (
    Batch,
    Beat,
    ChangeBatch,
    Leadership,
    LogTail,
    Master,
    Overdue,
    PeerMessage,
    PendingCounts,
    Snapshot,
    Store,
    TaskQuery,
    TaskWrite,
    WriteResult,
    WriteStatus,
    ignore,
)
from podling.store.memory.alerts import AlertTable
from podling.store.memory.audit import AuditTable
from podling.store.memory.changes import ChangeTable
from podling.store.memory.coordination import MemoryCoordination
from podling.store.memory.decisions import DecisionTable
from podling.store.memory.inbox import InboxTable
from podling.store.memory.lines import LineTable
from podling.store.memory.logs import TailTable
from podling.store.memory.masters import MasterTable
from podling.store.memory.messages import MessageTable
from podling.store.memory.nodes import NodeTable
from podling.store.memory.queues import QueueTable
from podling.store.memory.schedules import ScheduleTable
from podling.store.memory.submit_counts import SubmitCountTable
from podling.store.memory.task_keys import TaskKeyTable
from podling.store.memory.tasks import TaskTable
from podling.store.memory.tokens import TokenTable
from podling.store.memory.workflows import WorkflowTable
from podling.store.ports.alerts import Alerts
from podling.store.ports.audit import Audit
from podling.store.ports.coordination import Coordination
from podling.store.ports.dead_letters import DeadLetters
from podling.store.ports.decisions import Decisions
from podling.store.ports.dependencies import Dependencies
from podling.store.ports.inbox import Inbox
from podling.store.ports.lines import Lines
from podling.store.ports.maintained import Maintained
from podling.store.ports.queues import Queues
from podling.store.ports.schedules import Schedules
from podling.store.ports.submit_counts import SubmitCounts
from podling.store.ports.task_keys import TaskKeys
from podling.store.ports.tokens import Tokens
from podling.store.ports.workflows import Workflows

MOST_FORGOTTEN = 500  # ended tasks at once: a few milliseconds' work

MOST_ENDED = 100_000
MOST_AUDITED = 10_000
MOST_CHANGES = 200_000
MOST_TAIL_BYTES = 256 * 1024 * 1024


class MemoryStore(Store):
    """See the port. Several masters of one process may share it; it needs no opening or closing.

    What has not ended is kept in any case; of ended tasks the newest `most_ended`, with their
    attempts, events and logs; of the feed `most_changes`; of logs `most_tail_bytes`; of the audit
    MOST_AUDITED entries.
    """

    kind = "memory"
    replica = None

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        cluster_id: str | None = None,
        most_ended: int = MOST_ENDED,
        most_changes: int = MOST_CHANGES,
        most_tail_bytes: int = MOST_TAIL_BYTES,
    ) -> None:
        self._cluster_id = cluster_id or secrets.token_hex(4)
        self._masters = MasterTable()
        self._tails = TailTable(most_tail_bytes)
        self._clock = clock = clock or SystemClock()
        self._tasks = TaskTable(clock, most_ended, self._forgotten, self._masters.check_epoch)
        self._changes = ChangeTable(clock, most_changes)
        self._messages = MessageTable(clock)
        self._listeners: list[Callable[[], None]] = []
        self._callers: list[Callable[[], None]] = []
        self._inbox_readers: list[Callable[[], None]] = []
        self._nodes = NodeTable()
        self.tokens: Tokens = TokenTable(self._call)
        self.audit: Audit = AuditTable(MOST_AUDITED)
        self.decisions: Decisions = DecisionTable()
        self.dead_letters: DeadLetters = self._tasks.letters
        self.dependencies: Dependencies = self._tasks.dependencies
        self._coordination = MemoryCoordination(clock, self._tasks.is_live)
        self.coordination: Coordination = self._coordination
        self.task_keys: TaskKeys = TaskKeyTable()
        self._workflows = WorkflowTable(self._tasks.get)
        self.workflows: Workflows = self._workflows
        self.submit_counts: SubmitCounts = SubmitCountTable(clock)
        self._alerts = AlertTable(self._masters.check_epoch, self._tasks.add_events, self._call)
        self.alerts: Alerts = self._alerts
        self.lines: Lines = LineTable(clock, self._masters.check_epoch, self._tasks)
        self.queues: Queues = QueueTable(self._call)
        self._schedules = ScheduleTable(self._masters.check_epoch, self._call)
        self.schedules: Schedules = self._schedules
        self._inbox = InboxTable(clock, self._tell_inbox)
        self.inbox: Inbox = self._inbox

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def diagnose(self, now: datetime) -> StoreFacts:
        pending = self._tasks.pending
        return StoreFacts(
            kind=self.kind,
            ready=pending.waiting_longest(),
            blocked=pending.blocked_longest(MOST_BLOCKED_SHAPES),
            failed_lately=self._tasks.count_failed_since(now - LATELY, MOST_COUNTED_FAILED),
        )

    async def suspects(self, scheduled_before: datetime, limit: int) -> Sequence[Task]:
        online = {node.node_id for node in self._nodes.load(NodeStatus.ONLINE)}
        found = [
            task
            for task in self._tasks.live()
            if task.node_id not in online
            or task.held is not None
            or (
                task.status is TaskStatus.SCHEDULED
                and (task.scheduled_at or task.created_at) < scheduled_before
            )
        ]
        return sorted(found, key=lambda task: (task.created_at, task.task_id))[:limit]

    async def cluster_id(self) -> str:
        return self._cluster_id

    # Masters and leadership

    async def register_master(self, master: Master) -> None:
        self._masters.register(master)

    async def beat_master(self, master_id: str) -> Sequence[Master]:
        return self._masters.beat(master_id)

    async def load_masters(self) -> Sequence[Master]:
        return self._masters.all()

    async def remove_master(self, master_id: str) -> None:
        self._masters.remove(master_id)
        self._messages.take(master_id)

    async def post(self, messages: Sequence[PeerMessage]) -> None:
        self._messages.post(messages)
        self._call()

    async def take_messages(self, master_id: str) -> Sequence[str]:
        return self._messages.take(master_id)

    async def leadership(self) -> Leadership:
        return self._masters.leadership

    async def take_leadership(self, master_id: str, seen: Leadership) -> int | None:
        return self._masters.take_leadership(master_id, seen)

    async def renew_leadership(self, master_id: str, epoch: int) -> bool:
        return self._masters.renew_leadership(master_id, epoch)

    async def resign_leadership(self, master_id: str, epoch: int) -> None:
        self._masters.resign_leadership(master_id, epoch)
        self._call()

    # Tasks

    async def commit(self, batch: Batch) -> Sequence[WriteResult]:
        first_answer = self._changes.answer_to(batch.master_id, batch.number)
        if first_answer is not None:
            return first_answer
        if batch.epoch is not None:
            self._masters.check_epoch(batch.epoch)
        if batch.workflow is not None and (owner := self._workflows.add(batch.workflow)) is not None:
            refusal = WriteResult(task_id=owner, status=WriteStatus.DUPLICATE)
            refused = (refusal,) * len(batch.tasks)
            self._changes.add(batch, refused)
            return refused
        new_ids = frozenset(write.task.task_id for write in batch.tasks if write.expected_version is None)
        results = tuple(self._write(write, batch.now, new_ids) for write in batch.tasks)
        for write, result in zip(batch.tasks, results, strict=True):
            if result.status is WriteStatus.APPLIED:
                self._alerts.put(write.alerts)
        self._changes.add(batch, results)
        for on_hint in self._listeners:
            on_hint()
        return results

    def _write(self, write: TaskWrite, now: datetime, new_ids: frozenset[str]) -> WriteResult:
        if write.fire is not None and not self._schedules.claim(write.fire):
            return WriteResult(task_id=write.task.task_id, status=WriteStatus.REFUSED)
        if write.inbox_id is not None:
            return self._write_from_inbox(write, write.inbox_id, now, new_ids)
        return self._tasks.write(write, now, new_ids)

    def _write_from_inbox(
        self, write: TaskWrite, inbox_id: int, now: datetime, new_ids: frozenset[str]
    ) -> WriteResult:
        if not self._inbox.has(inbox_id):
            return WriteResult(task_id=write.task.task_id, status=WriteStatus.REFUSED)
        result = self._tasks.write(write, now, new_ids)
        if result.status is WriteStatus.APPLIED:
            self._inbox.take(inbox_id)
        return result

    async def load_tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        found = {task_id: self._tasks.get(task_id) for task_id in task_ids}
        return {task_id: task for task_id, task in found.items() if task is not None}

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        return self._tasks.query(query)

    async def load_attempts(
        self, task_id: str, after: int = 0, limit: int | None = None
    ) -> Sequence[Attempt]:
        later = [row for row in self._tasks.attempts(task_id) if row.attempt > after]
        return later[:limit]

    async def load_events(self, task_id: str) -> Sequence[TaskEvent]:
        return self._tasks.events(task_id)

    async def find_events(self, task_ids: Sequence[str], type_: str) -> Sequence[TaskEvent]:
        found = (event for task_id in dict.fromkeys(task_ids) for event in self._tasks.events(task_id))
        return [event for event in found if event.type == type_]

    async def add_events(self, events: Sequence[TaskEvent]) -> None:
        self._tasks.add_events(events)

    async def ready_page(self, limit: int, skip_task_ids: Sequence[str] = ()) -> Sequence[Task]:
        return self._tasks.pending.page(limit, skip_task_ids)

    async def ready_ahead_of(self, task: Task, limit: int) -> int:
        return self._tasks.pending.count_ahead_of(task, limit)

    async def promote(self, now: datetime, limit: int) -> int:
        return self._tasks.pending.promote(now, limit)

    async def next_run_at(self) -> datetime | None:
        return self._tasks.pending.next_run_at()

    async def block(self, task_ids: Sequence[str], epoch: int) -> None:
        self._masters.check_epoch(epoch)
        self._tasks.pending.block(task_ids)

    async def unblock(self, rooms: Mapping[str, int], epoch: int) -> Mapping[str, int]:
        self._masters.check_epoch(epoch)
        return {shape: self._tasks.pending.unblock(shape, room) for shape, room in rooms.items()}

    async def blocked_shapes(self) -> Sequence[Task]:
        return self._tasks.pending.blocked_shapes()

    async def overdue(
        self, now: datetime, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[Overdue]:
        return self._tasks.deadlines.overdue(now, limit, after)

    async def next_overdue_at(self) -> datetime | None:
        return self._tasks.deadlines.next_at()

    async def count_tasks(self) -> Mapping[TaskStatus, int]:
        return self._tasks.counts()

    async def count_pending(self, limit: int) -> PendingCounts:
        return self._tasks.pending.count(limit)

    # The view and its feed

    async def snapshot(self) -> Snapshot:
        return Snapshot(
            nodes=tuple(self._nodes.load(None)),
            live_tasks=tuple(self._tasks.live()),
            cursors=self._changes.cursors(),
            counts=self._tasks.counts(),
        )

    async def changes_after(self, cursors: Mapping[str, int], limit: int) -> Sequence[ChangeBatch]:
        return self._changes.after(cursors, limit)

    async def changes_kept(self) -> Mapping[str, tuple[int, int]]:
        return self._changes.kept()

    async def listen(
        self,
        on_hint: Callable[[], None],
        on_call: Callable[[], None] = ignore,
        on_inbox: Callable[[], None] = ignore,
    ) -> None:
        kinds = ((self._listeners, on_hint), (self._callers, on_call), (self._inbox_readers, on_inbox))
        for told, tell in kinds:
            told.append(tell)
        try:
            for _, tell in kinds:
                tell()
            await asyncio.Event().wait()
        finally:
            for told, tell in kinds:
                told.remove(tell)

    def _call(self) -> None:
        for on_call in self._callers:
            on_call()

    def _tell_inbox(self) -> None:
        for on_inbox in self._inbox_readers:
            on_inbox()

    async def maintain(self, keep_ended: timedelta | None = None, seconds: float = 20.0) -> Maintained:
        """See `Store.maintain`. All else is kept in bounds with every commit."""
        self._messages.forget_old()
        await self.coordination.forget()
        until = self._clock.monotonic() + seconds
        while keep_ended is not None and self._tasks.forget_ended(keep_ended.total_seconds(), MOST_FORGOTTEN):
            if self._clock.monotonic() >= until:
                return Maintained(is_complete=False)
            await asyncio.sleep(0)  # others have a turn
        self._workflows.forget()
        return Maintained(is_complete=True)

    # Nodes

    async def open_session(self, node: Node) -> int:
        return self._nodes.open_session(node)

    async def save_node(self, node: Node, expected_session_no: int | None = None) -> bool:
        return self._nodes.save(node, expected_session_no)

    async def set_service(self, node_id: str, *, cordoned: bool, drain: Drain | None) -> Node | None:
        node = self._nodes.set_service(node_id, cordoned, drain)
        self._call()
        return node

    async def load_node(self, node_id: str) -> Node | None:
        return self._nodes.load_one(node_id)

    async def load_nodes(
        self, status: NodeStatus | None = None, node_ids: Collection[str] | None = None
    ) -> Sequence[Node]:
        return self._nodes.load(status, node_ids)

    async def node_versions(self) -> Mapping[str, int]:
        return self._nodes.versions()

    async def remove_node(self, node_id: str) -> bool:
        removed = self._nodes.remove(node_id)
        self._call()
        return removed

    async def beat(self, sessions: Mapping[str, int], now: datetime) -> frozenset[str]:
        return self._nodes.beat(sessions, now)

    async def load_beats(self) -> Sequence[Beat]:
        return self._nodes.load_beats()

    async def mark_lost(self, node_id: str, seen_counter: int, epoch: int) -> bool:
        self._masters.check_epoch(epoch)
        return self._nodes.mark_lost(node_id, seen_counter)

    # Logs

    async def save_tails(self, tails: Sequence[LogTail]) -> None:
        self._tails.save(tails)

    async def load_tail(self, task_id: str, attempt: int) -> LogTail | None:
        return self._tails.load(task_id, attempt)

    def _forgotten(self, task_id: str, attempts: Iterable[int]) -> None:
        self._coordination.checkpoints.drop(task_id)
        for attempt in attempts:
            self._tails.drop(task_id, attempt)
