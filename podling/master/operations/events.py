"""Everything that happens to tasks and nodes, in the order in which it happened to each."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podling.core.happened import EventFilter, Summary, task_event_type
from podling.core.position import Position, missing, written
from podling.master.context import MasterContext
from podling.master.event_log import PAGE
from podling.store.base import Change, ChangeBatch
from podling.wire.events import node_event, node_event_type, reset_event, task_event

HEARTBEAT_SECONDS = 5.0
TRIM_SECONDS = 600.0

_UNKNOWN = Summary()


@dataclass(frozen=True, slots=True)
class Told:
    """An event, or None: nothing has happened for a while; a reader goes on from `event_id`."""

    event_id: str
    event: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Where to begin: after a position, or at a time (as far as it is kept); else from now on."""

    wanted: EventFilter
    after: Position | None = None
    since: datetime | None = None
    heartbeat_seconds: float = HEARTBEAT_SECONDS


async def read(context: MasterContext, query: EventQuery) -> AsyncGenerator[Sequence[Told], None]:
    """Yield events for ever, those of one commit together; `reset` comes first where some are missing.

    Raises StoreUnavailable. The caller is counted as a reader of `context.events`.
    """
    reader = _Reader(context, query)
    yield await reader.begin()
    said_at = context.clock.monotonic()
    while True:
        batches = await reader.next_batches()
        for batch in batches or ():
            if told := await reader.tell(batch):
                yield told
                said_at = context.clock.monotonic()
        if batches is None:
            yield [reader.reset()]
        elif context.clock.monotonic() - said_at >= query.heartbeat_seconds:
            yield [reader.here()]
            said_at = context.clock.monotonic()
        elif not batches:
            await reader.wait()


class _Reader:
    """One reader's place: in the master's own log, or further back, in the store."""

    def __init__(self, context: MasterContext, query: EventQuery) -> None:
        self._context = context
        self._query = query
        self._reason = ""
        self._serial: int | None = None
        self._kept: Mapping[str, tuple[int, int]] = {}
        self._trimmed_at = 0.0
        self.position = query.after or Position()

    async def begin(self) -> Sequence[Told]:
        """Return where the reader begins, after a `reset` if it cannot begin where it wants."""
        await self._trim()
        if self._query.after is not None:
            if (reason := missing(self._query.after, self._kept)) is not None:
                self._reason = reason
                return [self.reset()]
        elif self._query.since is not None:
            self.position = Position.at({name: oldest - 1 for name, (oldest, _) in self._kept.items()})
        else:
            self._start_here()
        return [self.here()]

    def here(self) -> Told:
        return Told(written(self.position))

    def reset(self) -> Told:
        """Go on from what was there just now, and tell why what was before is missing."""
        self._start_here()
        return Told(written(self.position), reset_event(self._context.clock.now(), self._reason))

    def _start_here(self) -> None:
        self.position = Position.at({name: newest for name, (_, newest) in self._kept.items()})
        self._serial = None

    async def _trim(self) -> None:
        """Leave masters that are long gone out of the ids."""
        self._kept = await self._context.store.changes_kept()
        self.position = self.position.trimmed(self._kept)
        self._trimmed_at = self._context.clock.monotonic()

    async def next_batches(self) -> list[ChangeBatch] | None:
        """Return what comes next; None if something is missing before it."""
        if self._context.clock.monotonic() - self._trimmed_at > TRIM_SECONDS:
            await self._trim()
        if self._serial is not None:
            batches = self._context.events.after(self._serial)
            if batches is not None:
                self._serial += len(batches)
                return batches
            self._serial = None  # too slow for what is kept here
        serial = self._context.events.serial
        found = list(await self._context.store.changes_after(self.position.numbers, PAGE))
        self._kept = await self._context.store.changes_kept()
        if (reason := missing(self.position, self._kept)) is not None:
            self._reason = reason
            return None
        if len(found) < PAGE:
            self._serial = serial
        return found

    async def wait(self) -> None:
        """Return when there is more, or when it is time to show that the line is alive."""
        if self._serial is not None:
            await self._context.events.wait(self._serial, self._query.heartbeat_seconds)

    async def tell(self, batch: ChangeBatch) -> Sequence[Told]:
        """Return what of the batch is wanted and not known, and go on after it."""
        if self.position.has(batch.master_id, batch.number):
            return ()
        before, of = self.position, len(batch.changes) + len(batch.nodes)
        known = before.known_of(batch.master_id, batch.number)
        told = [
            Told(written(before.moved(batch.master_id, batch.number, index + 1, of)), event)
            for index, event in await self._events(batch)
            if index >= known
        ]
        self.position = before.moved(batch.master_id, batch.number, of, of)
        return told

    async def _events(self, batch: ChangeBatch) -> list[tuple[int, dict[str, Any]]]:
        """Return what is wanted of the batch, each with its place there."""
        since, wanted = self._query.since, self._query.wanted
        if since is not None and batch.at is not None and batch.at < since:
            return []
        chosen = []
        for index, change in enumerate(batch.changes):
            type_ = task_event_type(change.version, change.before, change.status)
            if wanted.wants(type_, change.node_id, change.task_id):
                chosen.append((index, change, type_))
        events = await self._task_events(batch, chosen)
        for index, node in enumerate(batch.nodes, len(batch.changes)):
            if wanted.wants(node_event_type(node), node.node_id):
                events.append((index, node_event(batch.at, node)))
        return events

    async def _task_events(
        self, batch: ChangeBatch, chosen: list[tuple[int, Change, str]]
    ) -> list[tuple[int, dict[str, Any]]]:
        if not chosen:
            return []
        known = await self._context.events.summaries([change.task_id for _, change, _ in chosen])
        events = []
        for index, change, type_ in chosen:
            summary = known.get(change.task_id, _UNKNOWN)
            if self._query.wanted.wants_task(summary):
                events.append((index, _task_event(batch, change, type_, summary, self._progress(change))))
        return events

    def _progress(self, change: Change) -> float | None:
        """Return how far the attempt is by now, as the view has it: changes are kept without."""
        task = self._context.view.task(change.task_id)
        return task.progress if task is not None and task.attempt == change.attempt else None


def _task_event(
    batch: ChangeBatch, change: Change, type_: str, summary: Summary, progress: float | None
) -> dict[str, Any]:
    return task_event(
        type_,
        batch.at,
        change.task_id,
        change.status,
        change.before,
        change.attempt,
        change.node_id,
        summary,
        progress,
    )
