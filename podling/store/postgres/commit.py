"""One batch, one transaction, few statements: the path that every change of a task takes.

Tables are written in one order (leadership, keys, specs, live rows, history, attempts, events,
changes) and rows in the order of their ids, so that committers of several masters seldom deadlock;
where they do, the batch is repeated. The last statement records the batch under its number: if that
number is there already, the batch was a repeat, and all of it is rolled back for the first answer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import asyncpg
import orjson

from podling.core.errors import StaleEpoch, StoreUnavailable
from podling.core.task import Task, TaskStatus
from podling.store.base import Batch, Change, TaskWrite, WriteResult, WriteStatus
from podling.store.postgres.errors import DRIVER_ERRORS, REPEATABLE, lost_connection, translated
from podling.store.postgres.leader import LeaderGuard
from podling.store.postgres.pool import Connection, Pool
from podling.store.postgres.queries import load
from podling.store.postgres.rows import Row, attempt_row, event_row, live_row, spec_row, state_row, to_json

_SQL = load("commit")
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

    async def _first_answer(self, batch: Batch) -> list[WriteResult] | None:
        async with self._pool.connection() as connection:
            body = await connection.fetchval(_SQL.recorded_changes, batch.master_id, batch.number)
        return None if body is None else read_results(body)


async def _write(connection: Connection, batch: Batch) -> list[WriteResult]:
    results: dict[int, WriteResult] = {}
    for writes in _rounds(batch.tasks):
        results |= await _Round(connection, batch, writes).write()
    ordered = [results[index] for index in range(len(batch.tasks))]
    body = _record(batch, ordered)
    try:
        await connection.execute(_SQL.record_changes, batch.master_id, batch.number, body)
    except asyncpg.UniqueViolationError:
        raise _Repeated from None
    return ordered


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
            inserts = await self._insert_specs(await self._claim_keys(inserts))
        live, ended = await self._lock(updates)
        await self._insert_states(inserts)
        await self._update_states(live, ended)
        await self._write_dependents([*inserts, *live, *ended])
        return self._results

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

    async def _insert_specs(self, inserts: list[int]) -> list[int]:
        """Return the inserts whose id was free; the others are refused and give up their keys."""
        if not inserts:
            return []
        tasks = [self._task(index) for index in inserts]
        rows = await self._connection.fetch(_SQL.insert_specs, to_json([spec_row(task) for task in tasks]))
        if len(rows) == len(inserts):
            return inserts
        made = {row["task_id"] for row in rows}
        refused = [task for task in tasks if task.task_id not in made]
        await self._connection.execute(
            _SQL.give_up_keys,
            [task.spec.idempotency_key for task in refused],
            [task.task_id for task in refused],
        )
        return self._sort_out(inserts, made)

    def _sort_out(self, indexes: list[int], accepted: Collection[str]) -> list[int]:
        """Refuse the writes whose task is not among the accepted; return the others."""
        for index in indexes:
            task_id = self._task(index).task_id
            if task_id not in accepted:
                self._results[index] = WriteResult(task_id=task_id, status=WriteStatus.CONFLICT)
        return [index for index in indexes if self._task(index).task_id in accepted]

    async def _lock(self, updates: list[int]) -> tuple[list[int], list[int]]:
        """Lock the rows; return the updates that may be made to live and to ended tasks."""
        if not updates:
            return [], []
        live = await self._locked(_SQL.lock_live, updates)
        elsewhere = [index for index in updates if self._task(index).task_id not in live]
        ended = await self._locked(_SQL.lock_ended, elsewhere) if elsewhere else {}
        accepted = {
            task.task_id
            for index in updates
            if (task := self._task(index))
            and self._writes[index].expected_version == (live | ended).get(task.task_id)
            # An ended task may be written again, but never comes back to life.
            and (task.task_id in live or task.status.is_terminal)
        }
        fit = self._sort_out(updates, accepted)
        return (
            [index for index in fit if self._task(index).task_id in live],
            [index for index in fit if self._task(index).task_id in ended],
        )

    async def _locked(self, sql: str, indexes: list[int]) -> dict[str, int]:
        rows = await self._connection.fetch(sql, [self._task(index).task_id for index in indexes])
        return {row["task_id"]: row["version"] for row in rows}

    async def _insert_states(self, inserts: list[int]) -> None:
        tasks = [self._task(index) for index in inserts]
        await self._insert_live([task for task in tasks if not task.status.is_terminal])
        await self._insert_ended([task for task in tasks if task.status.is_terminal])

    async def _update_states(self, live: list[int], ended: list[int]) -> None:
        ending = [task for index in live if (task := self._task(index)).status.is_terminal]
        staying = [index for index in live if not self._task(index).status.is_terminal]
        if staying:
            rows = [live_row(self._task(index), self._batch.now) | self._guarded(index) for index in staying]
            await self._connection.execute(_SQL.update_live, to_json(rows))
        if ending:
            await self._connection.execute(_SQL.delete_live, [task.task_id for task in ending])
            await self._insert_ended(ending)
        if ended:
            rows = [state_row(self._task(index)) | self._guarded(index) for index in ended]
            await self._connection.execute(_SQL.update_ended, to_json(rows))

    async def _insert_live(self, tasks: list[Task]) -> None:
        if tasks:
            rows = [live_row(task, self._batch.now) for task in tasks]
            await self._connection.execute(_SQL.insert_live, to_json(rows))

    async def _insert_ended(self, tasks: list[Task]) -> None:
        if tasks:
            await self._connection.execute(_SQL.insert_ended, to_json([state_row(task) for task in tasks]))

    async def _write_dependents(self, applied: list[int]) -> None:
        writes = [self._writes[index] for index in applied]
        for index in applied:
            task_id = self._task(index).task_id
            self._results[index] = WriteResult(task_id=task_id, status=WriteStatus.APPLIED)
        attempts = {(row.task_id, row.attempt): row for write in writes for row in write.attempts}
        if attempts:
            rows = [attempt_row(attempts[key]) for key in sorted(attempts)]
            await self._connection.execute(_SQL.save_attempts, to_json(rows))
        events = [event_row(event) for write in writes for event in write.events]
        if events:
            await self._connection.execute(_SQL.append_events, to_json(events))

    def _task(self, index: int) -> Task:
        return self._writes[index].task

    def _guarded(self, index: int) -> Row:
        return {"expected_version": self._writes[index].expected_version}


def _record(batch: Batch, results: Sequence[WriteResult]) -> str:
    """Return the body of the row in `changes`: what was applied, and what was refused and where."""
    changes, refused = [], []
    for index, (write, result) in enumerate(zip(batch.tasks, results, strict=True)):
        if result.status is WriteStatus.APPLIED:
            task = write.task
            changes.append((task.task_id, task.version, task.status, task.attempt, task.node_id))
        else:
            refused.append((index, result.task_id, result.status, result.same_body))
    return to_json({"changes": changes, "refused": refused})


def read_changes(body: str) -> tuple[Change, ...]:
    """Return the applied writes of a row in `changes`, in order."""
    return tuple(
        Change(task_id=task_id, version=version, status=TaskStatus(status), attempt=attempt, node_id=node_id)
        for task_id, version, status, attempt, node_id in orjson.loads(body)["changes"]
    )


def read_results(body: str) -> list[WriteResult]:
    """Return what a row in `changes` says about every write of its batch, in order."""
    record = orjson.loads(body)
    results = [WriteResult(task_id=change[0], status=WriteStatus.APPLIED) for change in record["changes"]]
    for index, task_id, status, same_body in record["refused"]:
        results.insert(index, WriteResult(task_id=task_id, status=WriteStatus(status), same_body=same_body))
    return results
