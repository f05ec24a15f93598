"""Carries out the agent's instructions and answers each with what came of it. They decide nothing.

What one step asks of the journal is one write. Of what a runtime answers at once, many are one task
of the event loop; everything else has a task of its own, within a bound.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from podling.core.agent_events import (
    Event,
    ExitNotWritten,
    ExitWritten,
    IntentFailed,
    IntentWritten,
    LogsSaved,
    Looked,
    LookFailed,
    Noted,
    NotNoted,
    Prepared,
    PrepareFailed,
    Removed,
    RemoveFailed,
    Started,
    StartFailed,
    StopFailed,
)
from podling.core.agent_instructions import (
    Discard,
    Forget,
    Instruction,
    Look,
    Prepare,
    Remove,
    SaveLogs,
    Send,
    SetTimer,
    Start,
    Stop,
    WriteExit,
    WriteIntent,
    WriteNotes,
)
from podling.core.errors import RuntimeFailure, Unavailable
from podling.core.protocol import AttemptKey
from podling.worker.answer import answer
from podling.worker.journal import AttemptJournal
from podling.worker.late_starts import LateStarts
from podling.worker.runtime.meter import Meter, metered
from podling.worker.seen import seen_from
from podling.worker.spans import StartSpans
from podling.worker.work import work_of

if TYPE_CHECKING:
    from podling.worker.shell import Shell

PREPARES_AT_ONCE = 64  # a slow pull holds its place
STARTS_AT_ONCE = 16
REMOVALS_AT_ONCE = 8
SAVES_AT_ONCE = 4

_log = logging.getLogger(__name__)

_Journaled = WriteIntent | WriteNotes | WriteExit | Forget
_OfOneAttempt = Prepare | Start | Remove
_Work = Callable[[Any], Coroutine[Any, Any, None]]


class Hands:
    """Those of one shell, whose `answer` they call."""

    def __init__(self, shell: "Shell", journal: AttemptJournal) -> None:
        self._shell = shell
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
        self._late = LateStarts(shell.answer, shell.has_ended)
        self._unforgotten: list[Forget] = []  # the journal refused them
        self._preparing = asyncio.Semaphore(PREPARES_AT_ONCE)
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._removing = asyncio.Semaphore(REMOVALS_AT_ONCE)
        self._saving = asyncio.Semaphore(SAVES_AT_ONCE)
        self._each: dict[type[Any], Callable[[Any], None]] = {
            SetTimer: shell.timers.set,
            Send: lambda _: shell.sending.set(),
            Stop: lambda it: self._spawn(self._stop(it)),
            Look: lambda it: self._spawn(self._look(it)),
            SaveLogs: lambda it: self._spawn(self._save(it)),
            Discard: lambda it: self._spawn(self._discard(it)),
        }
        self._many: dict[type[Any], _Work] = {
            Prepare: self._prepare,
            Start: self._start,
            Remove: self._remove,
        }

    def carry_out(self, instructions: Sequence[Instruction]) -> None:
        """Begin all of them."""
        writes: list[_Journaled] = []
        calls: dict[type[Any], list[_OfOneAttempt]] = {}
        for instruction in instructions:
            if isinstance(instruction, _Journaled):
                writes.append(instruction)
            elif isinstance(instruction, _OfOneAttempt):
                calls.setdefault(type(instruction), []).append(instruction)
            else:
                self._each[type(instruction)](instruction)
        if writes:
            self._write(writes)
        for kind, many in calls.items():
            self._call(self._many[kind], many)

    async def close(self) -> None:
        """Give up what is not done yet."""
        self._late.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an instruction failed unexpectedly", exc_info=error)

    def _call(self, work: _Work, instructions: Sequence[_OfOneAttempt]) -> None:
        at_once = []
        for instruction in instructions:
            if self._shell.runtime(instruction.key).answers_at_once:
                at_once.append(instruction)
            else:
                self._spawn(work(instruction))
        if at_once:
            self._spawn(_in_turn(work, at_once))

    # The journal

    def _write(self, writes: Sequence[_Journaled]) -> None:
        for write in writes:
            if isinstance(write, Forget):
                self._shell.timers.forget(write.key)
        self._spawn(self._write_all(writes))

    async def _write_all(self, writes: Sequence[_Journaled]) -> None:
        try:
            await self._journal.write(*writes, urgent=any(map(_is_urgent, writes)))
        except Unavailable as error:
            for write in writes:
                self._refused(write, error)
        else:
            for write in writes:
                if not isinstance(write, Forget):
                    self._shell.answer(_written(write))

    def _refused(self, write: _Journaled, error: Unavailable) -> None:
        match write:
            case WriteIntent(assignment=assignment):
                self._shell.answer(IntentFailed(key=assignment.key, error=error.message))
            case WriteNotes(key=key):
                _log.warning("a note on task %s is not kept yet: %s", key.task_id, error.message)
                self._shell.answer(NotNoted(key=key))
            case WriteExit(key=key):
                self._shell.answer(ExitNotWritten(key=key))
            case Forget(key=key):
                self._unforgotten.append(write)
                _log.warning("task %s stays in the journal: %s", key.task_id, error.message)

    def forget_again(self) -> None:
        """Have the journal forget what it refused to."""
        refused, self._unforgotten = self._unforgotten, []
        if refused:
            self._write(refused)

    # The runtimes

    async def _prepare(self, instruction: Prepare) -> None:
        if instruction.starts:
            await self._begin(instruction)
            return
        shell, key = self._shell, instruction.key
        names: dict[str, Any] = {"key": key, "container": instruction.container}
        try:
            async with self._preparing:
                assignment = shell.state.attempts[key].assignment
                admitted = await answer(shell.admission.admit(assignment))
                work = work_of(shell.cluster_id, admitted, instruction.container)
                work = await shell.give(shell.gpus.given(work, shell.has_ended), assignment.spec.runtime)
                with metered() as engine:
                    found = await answer(shell.runtime(key).prepare(work))
                shell.gpus.adopt((found,))
        except RuntimeFailure as error:
            shell.answer(PrepareFailed(**names, error_code=error.code, error=error.message))
        else:
            shell.spans.put(key, StartSpans(prepare_seconds=engine.seconds))
            shell.answer(Prepared(**names, seen=seen_from(found)))

    async def _begin(self, instruction: Prepare) -> None:
        """Make it and start it in one go, if there is nothing to be staged.

        The time that it may take is counted from when its start is told.
        """
        shell, key, name = self._shell, instruction.key, instruction.container
        given = shell.state.attempts[key].assignment
        runtime = shell.runtime(key)
        container_id = None
        try:
            work = work_of(shell.cluster_id, await answer(shell.admission.admit(given)), name)
            container_id = (await answer(runtime.prepare(work))).container_id
            found = await answer(runtime.start(container_id))
        except RuntimeFailure as error:
            failed = PrepareFailed if container_id is None else StartFailed
            shell.answer(failed(key=key, container=name, error_code=error.code, error=error.message))
            return
        tell = self._late.put if given.spec.timeout_seconds is None else shell.answer
        tell(Started(key=key, container=name, seen=seen_from(found)))

    async def _start(self, instruction: Start) -> None:
        shell, key = self._shell, instruction.key
        names: dict[str, Any] = {"key": key, "container": instruction.container}
        runtime = shell.runtime(key)
        start = runtime.restart if instruction.again else runtime.start
        try:
            async with self._starting:
                with metered() as engine:
                    found = await answer(start(instruction.container_id))
        except RuntimeFailure as error:
            shell.answer(StartFailed(**names, error_code=error.code, error=error.message))
        else:
            self._note_start(key, engine)
            shell.answer(Started(**names, seen=seen_from(found)))

    def _note_start(self, key: AttemptKey, engine: Meter) -> None:
        spans = self._shell.spans
        now = replace(spans.get(key), start_seconds=engine.seconds, start_returned_at=engine.returned_at)
        spans.put(key, now)

    async def _stop(self, instruction: Stop) -> None:
        runtime = self._shell.runtime(instruction.key)
        try:
            stop = runtime.stop(instruction.container_id, instruction.signal, instruction.grace_seconds)
            await answer(stop)
        except RuntimeFailure as error:
            _log.warning("task %s cannot be stopped yet: %s", instruction.key.task_id, error.message)
            self._shell.answer(StopFailed(key=instruction.key, container=instruction.container))

    async def _look(self, instruction: Look) -> None:
        try:
            found = await answer(self._shell.runtime(instruction.key).inventory())
        except RuntimeFailure:
            self._shell.answer(LookFailed(key=instruction.key))
            return
        seen = tuple(one for one in map(seen_from, found) if one.key == instruction.key)
        self._shell.answer(Looked(key=instruction.key, seen=seen))

    async def _save(self, instruction: SaveLogs) -> None:
        async with self._saving:
            await self._shell.save_logs(instruction.key)
        self._shell.answer(LogsSaved(key=instruction.key))

    async def _remove(self, instruction: Remove) -> None:
        runtime = self._shell.runtime(instruction.key)
        try:
            async with self._removing:
                for container_id in instruction.container_ids:
                    await answer(runtime.remove(container_id))
        except RuntimeFailure as error:
            _log.warning("task %s cannot be removed yet: %s", instruction.key.task_id, error.message)
            self._shell.answer(RemoveFailed(key=instruction.key))
        else:
            self._shell.answer(Removed(key=instruction.key))

    async def _discard(self, instruction: Discard) -> None:
        seen, owner = instruction.seen, self._shell.owner_of(instruction.seen)
        _log.warning("removing a container nobody knows: %s of task %s", seen.container_id, seen.task_id)
        try:
            async with self._removing:
                await answer(owner.remove(seen.container_id))
        except RuntimeFailure as error:
            _log.warning("%s cannot be removed yet: %s", seen.container_id, error.message)


async def _in_turn(work: _Work, instructions: Sequence[Any]) -> None:
    for instruction in instructions:
        await work(instruction)


def _is_urgent(write: _Journaled) -> bool:
    return isinstance(write, WriteIntent | WriteExit) or (isinstance(write, WriteNotes) and write.urgent)


def _written(write: WriteIntent | WriteNotes | WriteExit) -> Event:
    match write:
        case WriteIntent(assignment=assignment):
            return IntentWritten(key=assignment.key)
        case WriteNotes(key=key, notes=notes):
            return Noted(key=key, notes=notes)
        case WriteExit(key=key):
            return ExitWritten(key=key)
