"""One batch, one transaction, few statements: the path that every change of a task takes.

Every statement is a round trip that all of the batch waits for, so tables that are written together
share one, and a batch of nothing but new tasks, or of plain moves (see `moves`), is one as a whole. They
are written in one order (leadership, fires, dead letters, keys, inbox, specs, live rows, history, alerts,
attempts, events, changes) and rows are locked in the order of their ids, so that committers of several
masters seldom deadlock; where they do, the batch is repeated. The last statement records the batch under
its number: if that number is there already, the batch was a repeat, and all of it is rolled back for the
first answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import asyncpg

from podling.core.dead_letters import letter_of
from podling.core.errors import StaleEpoch, StoreUnavailable
from podling.core.task import Task
from podling.store.base import Batch, TaskWrite, WriteResult, WriteStatus
from podling.store.postgres import alerts, dead_letters, dependencies, inbox, moves, schedules, workflows
from podling.store.postgres.change_rows import changes_body, read_results
from podling.store.postgres.errors import DRIVER_ERRORS, REPEATABLE, lost_connection, translated
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import (
    Row,
    attempt_columns,
    compact_json,
    kept_columns,
    live_row,
    moved_row,
    rows_to_json,
    spec_row,
    state_row,
)

_SQL = load("commit")
_TAKEN = (asyncpg.UniqueViolationError, asyncpg.NotNullViolationError)
_DEADLOCK_ATTEMPTS = 10
_CONNECTION_ATTEMPTS = 3


class _Repeated(Exception):
    """The batch's number is on record."""


class Committer:
    """Commits batches, repeating what must be repeated."""

    def __init__(self, pool: Pool, guard: LeaderGuard) -> None:
        self._pool = pool
        self._guard = guard

    async def commit(self, batch: Batch) -> list[WriteResult]:
        """See `Store.commit`."""
        with translated():
            lost = deadlocks = 0
            while True:
                try:
                    return await self._commit_once(batch)
                except REPEATABLE:
                    deadlocks += 1
                    if deadlocks == _DEADLOCK_ATTEMPTS:
                        raise
                except DRIVER_ERRORS as error:
                    # Whether it was committed is unknown; its number will tell.
                    lost += 1
                    if lost == _CONNECTION_ATTEMPTS or not lost_connection(error):
                        raise

    async def _commit_once(self, batch: Batch) -> list[WriteResult]:
        if batch.is_all_new:
            with suppress(*_TAKEN):
                if await self._insert_all(batch):
                    return [_applied(write) for write in batch.tasks]
        if batch.is_all_given and await self._insert_given(batch):
            return [_applied(write) for write in batch.tasks]
        if batch.is_all_moves and (results := await moves.write(self._pool, batch)) is not None:
            return results
        try:
            async with self._pool.transaction(*self._guard.settings(batch.epoch)) as connection:
                await self._guard.check(connection, batch.epoch)
                return await _write(connection, batch)
        except (_Repeated, StaleEpoch) as refusal:
            first = await self._first_answer(batch)
            if first is not None:
                return first
            if isinstance(refusal, StaleEpoch):
                raise
            raise StoreUnavailable("the record of a repeated batch was removed meanwhile") from None

    async def _insert_all(self, batch: Batch) -> bool:
        """Insert new tasks in one round trip; return False, and do nothing, if any might be refused.

        Raises one of _TAKEN, and has done nothing, if that shows only while they are written.
        """
        claims = sorted(
            (key, write.task.task_id, write.body_hash)
            for write in batch.tasks
            if (key := write.task.spec.idempotency_key) is not None
        )
        if len({key for key, _, _ in claims}) < len(claims):
            return False
        keys = [list(column) for column in zip(*claims, strict=True)] or [[], [], []]
        body = changes_body(batch, [_applied(write) for write in batch.tasks])
        given = (*_new_rows(batch.tasks, batch.now), *keys, batch.master_id, batch.number, body)
        waiting = inbox.rows_of(batch.tasks)
        async with self._pool.connection() as connection:
            if waiting:
                return await connection.fetchval(_SQL.insert_all_from_inbox, *given, waiting) is not None
            return await connection.fetchval(_SQL.insert_all, *given) is not None

    async def _insert_given(self, batch: Batch) -> bool:
        """Insert new tasks and the attempts that they have already in one round trip.

        False, and nothing is done, if the epoch does not lead or an id or the batch's number is taken.
        """
        body = changes_body(batch, [_applied(write) for write in batch.tasks])
        attempts = attempt_columns([row for write in batch.tasks for row in write.attempts])
        given = (*_new_rows(batch.tasks, batch.now), batch.epoch, batch.master_id, batch.number, body)
        with suppress(*_TAKEN):
            async with self._pool.connection() as connection:
                return await connection.fetchval(_SQL.insert_all_given, *given, *attempts) is not None
        return False

    async def _first_answer(self, batch: Batch) -> list[WriteResult] | None:
        async with self._pool.connection() as connection:
            body = await connection.fetchval(_SQL.recorded_changes, batch.master_id, batch.number)
        return None if body is None else read_results(body)


def _applied(write: TaskWrite) -> WriteResult:
    return WriteResult(task_id=write.task.task_id, status=WriteStatus.APPLIED)


def _new_rows(writes: Sequence[TaskWrite], now: datetime) -> tuple[str, list[str]]:
    """Return the rows of new tasks, and their bodies beside them."""
    rows = []
    for write in writes:
        row = spec_row(write.task) | live_row(write.task, now)
        row["line"] = write.line if row["due"] else None
        row["blocked"] = row["due"] and (write.blocked or write.line is not None)
        rows.append(row)
    return rows_to_json(rows), [compact_json(write.task.spec) for write in writes]


async def _write(connection: Connection, batch: Batch) -> list[WriteResult]:
    results: dict[int, WriteResult] = {}
    if batch.workflow is not None and (owner := await workflows.add(connection, batch.workflow)) is not None:
        refused = [WriteResult(task_id=owner, status=WriteStatus.DUPLICATE)] * len(batch.tasks)
        await _record(connection, batch, refused)
        return refused
    for writes in _rounds(batch.tasks):
        results |= await _Round(connection, batch, writes).write()
    ordered = [results[index] for index in range(len(batch.tasks))]
    await _record(connection, batch, ordered)
    return ordered


async def _record(connection: Connection, batch: Batch, results: Sequence[WriteResult]) -> None:
    """Keep attempts and events of what was applied, and the batch itself. Raises _Repeated."""
    applied = [
        write
        for write, result in zip(batch.tasks, results, strict=True)
        if result.status is WriteStatus.APPLIED
    ]
    if told := [alert for write in applied for alert in write.alerts]:
        await alerts.insert(connection, told)
    body = changes_body(batch, results)
    try:
        await connection.execute(_SQL.record, batch.master_id, batch.number, body, *kept_columns(applied))
    except asyncpg.UniqueViolationError:
        raise _Repeated from None


def _rounds(writes: Sequence[TaskWrite]) -> Iterator[dict[int, TaskWrite]]:
    """Split a batch so that no round has two writes of one task; almost always there is one round."""
    waiting = dict(enumerate(writes))
    while waiting:
        chosen: dict[str, int] = {}
        for index, write in waiting.items():
            chosen.setdefault(write.task.task_id, index)
        yield {chosen[task_id]: waiting.pop(chosen[task_id]) for task_id in sorted(chosen)}


class _Round:
    """Writes of different tasks, by their place in the batch, in the order of their ids."""

    def __init__(self, connection: Connection, batch: Batch, writes: dict[int, TaskWrite]) -> None:
        self._connection = connection
        self._batch = batch
        self._writes = writes
        self._results: dict[int, WriteResult] = {}

    async def write(self) -> dict[int, WriteResult]:
        inserts = [index for index, write in self._writes.items() if write.expected_version is None]
        updates = [index for index, write in self._writes.items() if write.expected_version is not None]
        if inserts:
            wanted = await self._take_letters(await self._claim_fires(inserts))
            free = await self._link(await self._claim_keys(wanted))
            await self._insert(await self._take_from_inbox(free))
        if updates:
            await self._rewrite_ended(await self._move(updates))
        return self._results

    async def _take_letters(self, inserts: list[int]) -> list[int]:
        """Take the letters of replays off the list; return the inserts but those that needed one in vain."""
        takers: dict[str, int] = {}
        for index in inserts:
            if (task_id := self._writes[index].takes_off) is not None:
                takers.setdefault(task_id, index)
        if not takers:
            return inserts
        taken = await dead_letters.take(self._connection, sorted(takers))
        happy = {takers[task_id] for task_id in taken}
        refused = {index for index in inserts if self._writes[index].only_if_listed} - happy
        for index in refused:
            task_id = self._task(index).task_id
            self._results[index] = WriteResult(task_id=task_id, status=WriteStatus.NOT_LISTED)
        return [index for index in inserts if index not in refused]

    async def _claim_fires(self, inserts: list[int]) -> list[int]:
        """Return the inserts whose fire was kept, and those of no schedule."""
        fires = {index: fire for index in inserts if (fire := self._writes[index].fire) is not None}
        if not fires:
            return inserts
        kept = await schedules.claim(self._connection, fires)
        self._refuse(fires.keys() - kept)
        return [index for index in inserts if index not in self._results]

    async def _claim_keys(self, inserts: list[int]) -> list[int]:
        """Return the inserts whose key is theirs from now on, and those that have none."""
        claims: dict[str, int] = {}
        for index in sorted(inserts):
            key = self._task(index).spec.idempotency_key
            if key is not None:
                claims.setdefault(key, index)
        if not claims:
            return inserts
        owners = await self._key_owners(claims)
        granted = []
        for index in inserts:
            key = self._task(index).spec.idempotency_key
            if key is None or (claims[key] == index and owners[key] is None):
                granted.append(index)
            else:
                first = self._writes[claims[key]]
                self._refuse_duplicate(index, owners[key] or (first.task.task_id, first.body_hash))
        return granted

    async def _key_owners(self, claims: Mapping[str, int]) -> dict[str, tuple[str, str | None] | None]:
        """Claim the keys; return for each None if it is ours now, else its task and body hash."""
        keys = sorted(claims)
        task_ids = [self._task(claims[key]).task_id for key in keys]
        hashes = [self._writes[claims[key]].body_hash for key in keys]
        rows = await self._connection.fetch(_SQL.claim_keys, keys, task_ids, hashes)
        claimed = {row["key"] for row in rows}
        taken = [key for key in keys if key not in claimed]
        found = await self._connection.fetch(_SQL.key_owners, taken) if taken else []
        owners = {row["key"]: (row["task_id"], row["body_hash"]) for row in found}
        if len(owners) != len(taken):
            raise asyncpg.SerializationError("a key was given up between two statements")
        return {key: owners.get(key) for key in keys}

    def _refuse_duplicate(self, index: int, owner: tuple[str, str | None]) -> None:
        task_id, body_hash = owner
        self._results[index] = WriteResult(
            task_id=task_id,
            status=WriteStatus.DUPLICATE,
            same_body=body_hash == self._writes[index].body_hash,
        )

    async def _take_from_inbox(self, inserts: list[int]) -> list[int]:
        """Return the inserts whose row was still in the inbox, and those that have none there."""
        gone = await inbox.missing(self._connection, {index: self._writes[index] for index in inserts})
        self._refuse(gone)
        await self._give_up_keys(gone)
        return [index for index in inserts if index not in gone]

    async def _link(self, inserts: list[int]) -> list[int]:
        """Keep what new tasks wait for; return the inserts but those whose parents are not there."""
        children = {index: self._task(index) for index in inserts if self._task(index).spec.depends_on}
        if not children:
            return inserts
        new_ids = frozenset(self._task(index).task_id for index in inserts)
        missing = await dependencies.link(self._connection, children, new_ids)
        for index, parent_id in missing.items():
            self._results[index] = WriteResult(task_id=parent_id, status=WriteStatus.NO_PARENT)
        await self._give_up_keys(list(missing))
        return [index for index in inserts if index not in missing]

    async def _give_up_keys(self, inserts: Sequence[int]) -> None:
        if inserts:
            tasks = [self._task(index) for index in inserts]
            keys = [task.spec.idempotency_key for task in tasks]
            await self._connection.execute(_SQL.give_up_keys, keys, [task.task_id for task in tasks])

    def _refuse(self, inserts: Iterable[int]) -> None:
        for index in inserts:
            task_id = self._task(index).task_id
            self._results[index] = WriteResult(task_id=task_id, status=WriteStatus.REFUSED)

    async def _insert(self, inserts: list[int]) -> None:
        """Insert the tasks whose id is free; the others are refused and give up their keys."""
        if not inserts:
            return
        new = _new_rows([self._writes[index] for index in inserts], self._batch.now)
        found = await self._connection.fetch(_SQL.insert_tasks, *new)
        made = {row["task_id"] for row in found}
        for index in inserts:
            self._decide(index, self._task(index).task_id in made)
        await self._put_letters(inserts)
        await self._give_up_keys([index for index in inserts if self._task(index).task_id not in made])

    async def _move(self, updates: list[int]) -> list[int]:
        """Write the live tasks that are as expected; return the updates of tasks that are not live."""
        rows = [moved_row(self._writes[index], self._batch.now) for index in updates]
        found = await self._versions(_SQL.move_tasks, updates, rows_to_json(rows))
        for index in updates:
            if (version := found.get(self._task(index).task_id)) is not None:
                self._decide(index, version == self._writes[index].expected_version)
        await self._put_letters([index for index in updates if self._task(index).task_id in found])
        await self._end_waits(updates)
        return [index for index in updates if self._task(index).task_id not in found]

    async def _end_waits(self, updates: list[int]) -> None:
        ended = [index for index in updates if self._writes[index].ends_wait and index in self._results]
        applied = [index for index in ended if self._results[index].status is WriteStatus.APPLIED]
        if applied:
            await dependencies.forget(self._connection, [self._task(index).task_id for index in applied])

    async def _put_letters(self, indexes: list[int]) -> None:
        """List those that have failed for good with this write."""
        applied = (index for index in indexes if self._results[index].status is WriteStatus.APPLIED)
        letters = [letter for index in applied if (letter := letter_of(self._task(index))) is not None]
        if letters:
            await dead_letters.put(self._connection, letters)

    async def _rewrite_ended(self, updates: list[int]) -> None:
        """Write ended tasks that are as expected and stay ended: they never come back to life."""
        if not updates:
            return
        found = await self._versions(_SQL.lock_ended, updates)
        fit = [
            index
            for index in updates
            if self._task(index).status.is_terminal
            and found.get(self._task(index).task_id) == self._writes[index].expected_version
        ]
        for index in updates:
            self._decide(index, index in fit)
        if fit:
            rows = [state_row(self._task(index)) | self._guarded(index) for index in fit]
            task_ids = [self._task(index).task_id for index in fit]
            await self._connection.execute(_SQL.update_ended, rows_to_json(rows), task_ids)

    async def _versions(self, sql: str, indexes: list[int], *rows: str) -> dict[str, int]:
        """Return the versions of the rows that the statement has locked."""
        found = await self._connection.fetch(sql, *rows, [self._task(index).task_id for index in indexes])
        return {row["task_id"]: row["version"] for row in found}

    def _decide(self, index: int, applied: bool) -> None:
        status = WriteStatus.APPLIED if applied else WriteStatus.CONFLICT
        self._results[index] = WriteResult(task_id=self._task(index).task_id, status=status)

    def _task(self, index: int) -> Task:
        return self._writes[index].task

    def _guarded(self, index: int) -> Row:
        return {"expected_version": self._writes[index].expected_version}
