"""What survives the worker program: one SQLite file, written by a thread of its own.

All writes that wait are one transaction (group commit); a write that need not be durable at once
waits a moment for one that must be.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any, Protocol

from podling.core.agent_events import JournalRow, Notes
from podling.core.agent_instructions import Forget, WriteExit, WriteIntent, WriteNotes
from podling.core.errors import ConfigurationError, Unavailable
from podling.core.protocol import Assignment, AttemptKey, Report
from podling.core.value import value
from podling.kit.metrics import Instrument
from podling.wire.codec import decode, encode_compactly
from podling.worker.datadir import DataDirectory
from podling.worker.instruments import journal_writes

MOST_DONE = 2000
PRUNE_EVERY = 200
MOST_IN_BATCH = 500
RIDE_ALONG_SECONDS = 0.05
CLOSE_SECONDS = 10.0

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    assignment BLOB,
    notes BLOB,
    final BLOB,
    done INTEGER,
    PRIMARY KEY (task_id, attempt)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_done ON attempts (done) WHERE done IS NOT NULL;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_INTENT = "INSERT OR IGNORE INTO attempts (task_id, attempt, assignment) VALUES (?, ?, ?)"
_NOTES = "UPDATE attempts SET notes = ? WHERE task_id = ? AND attempt = ?"
_EXIT = "UPDATE attempts SET final = ? WHERE task_id = ? AND attempt = ?"
_FORGET = """
    UPDATE attempts SET assignment = NULL, notes = NULL, done = ?
    WHERE task_id = ? AND attempt = ? AND done IS NULL
"""
_LAST_DONE = "SELECT coalesce(max(done), 0) FROM attempts WHERE done IS NOT NULL"
_PRUNE = "DELETE FROM attempts WHERE done <= (SELECT max(done) FROM attempts WHERE done IS NOT NULL) - ?"
_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_CLEAR = "DELETE"  # of everything


@value
class WriteMeta:
    """A named fact about the worker as a whole."""

    name: str
    value: str


@value
class Clear:
    """Forget all attempts and facts: they belong to a cluster that the worker has left."""


Write = WriteIntent | WriteNotes | WriteExit | Forget | WriteMeta | Clear

_STATEMENTS: dict[type[Any], str] = {
    WriteIntent: _INTENT,
    WriteNotes: _NOTES,
    WriteExit: _EXIT,
    Forget: _FORGET,
    WriteMeta: _META,
    Clear: _CLEAR,
}


class AttemptJournal(Protocol):
    """What a worker needs of a journal; see `Journal`."""

    @property
    def problem(self) -> str | None: ...

    def rows(self) -> tuple[JournalRow, ...]: ...

    def meta(self, name: str) -> str | None: ...

    async def write(self, *writes: Write, urgent: bool = True) -> None: ...

    def write_later(self, write: Write) -> None: ...


@dataclass(slots=True)
class _Waiting:
    writes: Sequence[Write]
    is_urgent: bool
    done: "asyncio.Future[None] | None" = None


class Journal:
    """Open it with `Journal.open`; `write` returns when the write is on disk."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._forgotten = 0
        self._done: int = database.execute(_LAST_DONE).fetchone()[0]
        self._durations = journal_writes()
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, directory: DataDirectory) -> "Journal":
        """Open or make the journal. Raises ConfigurationError if the file cannot be used."""
        path = directory.path / "journal.sqlite"
        try:
            return cls(_connect(path))
        except (sqlite3.DatabaseError, OSError) as error:
            raise ConfigurationError(
                f"the journal {path} cannot be used: {error}; free its disk, or move the file away "
                "(what it knew of running containers is lost then)"
            ) from error

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None when writes succeed."""
        return self._problem

    def rows(self) -> tuple[JournalRow, ...]:
        """Return every attempt, those that are done in the order of their end. Before the first write."""
        query = "SELECT task_id, attempt, assignment, notes, final, done FROM attempts ORDER BY done"
        return tuple(_row(columns) for columns in self._database.execute(query))

    def instruments(self) -> Sequence[Instrument]:
        return (self._durations,)

    def meta(self, name: str) -> str | None:
        """Return what was written under `name`. Before the first write."""
        found = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    async def write(self, *writes: Write, urgent: bool = True) -> None:
        """Return when all are on disk. Raises Unavailable (code `disk_full` or `journal_failed`)."""
        done = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(writes, urgent, done))
        await done

    def write_later(self, write: Write) -> None:
        """Have it ride along with the next write; a failure shows in `problem` alone."""
        self._queue.put(_Waiting((write,), False))

    async def close(self) -> None:
        """Write what waits, and close the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    # On the journal's own thread

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._gather()
            if batch:
                began = time.perf_counter()
                failure = self._commit([write for waiting in batch for write in waiting.writes])
                self._durations.observe(time.perf_counter() - began)
                _settle(batch, failure)
        self._database.close()

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Return the writes that wait, and whether more may come."""
        batch: list[_Waiting] = []
        due: float | None = None
        while sum(len(waiting.writes) for waiting in batch) < MOST_IN_BATCH:
            wait = None if due is None else max(0.0, due - time.monotonic())
            try:
                waiting = self._queue.get(block=wait != 0, timeout=wait or None)
            except queue.Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
            if waiting.is_urgent:
                due = 0.0
            elif due is None:
                due = time.monotonic() + RIDE_ALONG_SECONDS
        return batch, True

    def _commit(self, writes: Sequence[Write]) -> Unavailable | None:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for statement, run in groupby(writes, _statement_of):
                self._execute(statement, list(run))
            self._prune()
            self._database.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told and the thread lives
            failure = _translate(error)
            if self._problem is None:
                _log.error("%s", failure.message)
            self._problem = failure.message
            with contextlib.suppress(sqlite3.Error):  # nothing to roll back if BEGIN itself failed
                self._database.execute("ROLLBACK")
            return failure
        self._problem = None
        return None

    def _execute(self, statement: str, writes: Sequence[Write]) -> None:
        """Carry out writes of one kind."""
        if statement == _CLEAR:
            for table in ("attempts", "meta"):
                self._database.execute(f"DELETE FROM {table}")
        elif statement == _FORGET:
            self._forgotten += len(writes)
            first, self._done = self._done + 1, self._done + len(writes)
            numbered = zip(count(first), map(_parameters, writes), strict=False)
            self._database.executemany(_FORGET, [(number, *key) for number, key in numbered])
        else:
            self._database.executemany(statement, map(_parameters, writes))

    def _prune(self) -> None:
        if self._forgotten >= PRUNE_EVERY:
            self._database.execute(_PRUNE, (MOST_DONE,))
            self._forgotten = 0


def _connect(path: Path) -> sqlite3.Connection:
    _keep_private(path)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA busy_timeout = 5000")
    database.executescript(_SCHEMA)
    return database


def _keep_private(path: Path) -> None:
    """Let its owner alone read it, before anything is in it; SQLite makes the files beside it alike."""
    path.touch(mode=0o600)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        if (file := path.with_name(name)).exists():  # perhaps from before they were private
            file.chmod(0o600)


def _statement_of(write: Write) -> str:
    return _STATEMENTS[type(write)]


def _parameters(write: Write) -> tuple[Any, ...]:
    match write:
        case WriteIntent(assignment=assignment):
            return assignment.task_id, assignment.attempt, encode_compactly(assignment)
        case WriteNotes(key=key, notes=notes):
            return encode_compactly(notes), key.task_id, key.attempt
        case WriteExit(key=key, final=final):
            return encode_compactly(final), key.task_id, key.attempt
        case Forget(key=key):
            return key.task_id, key.attempt
        case WriteMeta(name=name, value=text):
            return name, text
        case Clear():
            return ()


def _row(columns: Sequence[Any]) -> JournalRow:
    task_id, attempt, assignment, notes, final, done = columns
    return JournalRow(
        key=AttemptKey(task_id=task_id, attempt=attempt),
        assignment=decode(Assignment, assignment) if assignment else None,
        notes=decode(Notes, notes) if notes else Notes(),
        final=decode(Report, final) if final else None,
        done=done is not None,
    )


def _translate(error: Exception) -> Unavailable:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return Unavailable("the disk under the worker's data directory is full", code="disk_full")
    return Unavailable(f"the worker's journal cannot be written: {error}", code="journal_failed")


def _settle(batch: Sequence[_Waiting], failure: Unavailable | None) -> None:
    """Tell every loop once that its writes are done."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiting in batch:
        if waiting.done is not None:
            by_loop.setdefault(waiting.done.get_loop(), []).append(waiting.done)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, futures, failure)


def _resolve(futures: "Sequence[asyncio.Future[None]]", failure: Unavailable | None) -> None:
    for future in futures:
        if future.done():
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(Unavailable(failure.message, code=failure.code))
