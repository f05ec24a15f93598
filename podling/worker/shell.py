"""Carries out the agent's instructions and tells it what came of them. It decides nothing itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from podling.core.agent import AgentState, step
from podling.core.agent_attempt import Held
from podling.core.agent_events import (
    Event,
    ExitNotWritten,
    ExitWritten,
    IntentFailed,
    IntentWritten,
    LogsSaved,
    Looked,
    LookFailed,
    Moment,
    Noted,
    NotNoted,
    Prepared,
    PrepareFailed,
    Removed,
    RemoveFailed,
    Restored,
    Seen,
    Started,
    StartFailed,
    StopFailed,
    Swept,
    Timer,
    TimerFired,
    Vanished,
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
from podling.kit.clock import Clock
from podling.kit.wakeup import Wakeup
from podling.worker.admission import Admission
from podling.worker.answer import answer as _answer
from podling.worker.gpus import Gpus
from podling.worker.journal import AttemptJournal
from podling.worker.kept_lease import Lease
from podling.worker.runtime.base import Found, Gone, Runtime
from podling.worker.runtime.meter import Meter, metered
from podling.worker.seen import news_of, seen_from
from podling.worker.spans import Spans, StartSpans
from podling.worker.work import work_of

PREPARES_AT_ONCE = 64  # a slow pull holds its place
STARTS_AT_ONCE = 16
REMOVALS_AT_ONCE = 8
SAVES_AT_ONCE = 4

_log = logging.getLogger(__name__)

SaveLog = Callable[[AttemptKey], Awaitable[None]]


class Shell:
    """The worker's hands. `state` is the agent's; `sending` wakes whoever sends the outbox."""

    def __init__(
        self,
        *,
        cluster_id: str,
        runtimes: Mapping[str, Runtime],
        journal: AttemptJournal,
        clock: Clock,
        admission: Admission,
        gpus: Gpus | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.runtimes = runtimes
        self.clock = clock
        self.admission = admission
        self.gpus = gpus or Gpus()
        self.sending = Wakeup()
        self.spans = Spans()
        self.save_logs: SaveLog = _save_nothing
        self.state = AgentState(
            runtimes=frozenset(runtimes),
            exact_runtimes=frozenset(name for name, one in runtimes.items() if one.knows_every_start),
        )
        self._journal = journal
        self._owners: dict[str, Runtime] = {}
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unforgotten: list[Forget] = []  # the journal refused them
        self._preparing = asyncio.Semaphore(PREPARES_AT_ONCE)
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._removing = asyncio.Semaphore(REMOVALS_AT_ONCE)
        self._saving = asyncio.Semaphore(SAVES_AT_ONCE)
        self._changed = asyncio.Event()
        self._early: list[Found | Gone] | None = []
        self._carry_out: dict[type[Any], Callable[[Any], None]] = {
            SetTimer: self._set_timer,
            Send: lambda _: self.sending.set(),
            WriteIntent: lambda it: self._spawn(self._write_intent(it)),
            WriteNotes: lambda it: self._spawn(self._write_notes(it)),
            WriteExit: lambda it: self._spawn(self._write_exit(it)),
            Prepare: lambda it: self._spawn(self._prepare(it)),
            Start: lambda it: self._spawn(self._start(it)),
            Stop: lambda it: self._spawn(self._stop(it)),
            Look: lambda it: self._spawn(self._look(it)),
            SaveLogs: lambda it: self._spawn(self._save(it)),
            Remove: lambda it: self._spawn(self._remove(it)),
            Discard: lambda it: self._spawn(self._discard(it)),
            Forget: self._forget,
        }

    async def open(self, kept_lease: Callable[[], Lease] = lambda: (None, None)) -> None:
        """Open the runtimes, and take over what they and the journal have. Raises RuntimeFailure.

        `kept_lease` is asked afterwards for the lease's seconds, and when its renewal was asked for.
        """
        rows = self._journal.rows()  # nothing writes yet
        for runtime in self.runtimes.values():
            await runtime.open(self._observe)
        seen = await self._inventory()
        lease_seconds, lease_sent_at = kept_lease()
        self.feed(
            Restored(
                rows=rows,
                seen=seen,
                lease_seconds=lease_seconds,
                lease_sent_at=lease_sent_at,
            )
        )
        early, self._early = self._early or [], None
        for told in early:
            self._observe(told)

    async def close(self) -> None:
        """Stop carrying out instructions; containers go on."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for runtime in self.runtimes.values():
            await runtime.close()

    def feed(self, event: Event) -> None:
        """Give the agent an event, and begin whatever follows."""
        now = Moment(monotonic=self.clock.monotonic(), wall=self.clock.now())
        self.state, instructions = step(self.state, event, now)
        for instruction in instructions:
            self._begin(instruction)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _begin(self, instruction: Instruction) -> None:
        self._carry_out[type(instruction)](instruction)

    async def changed(self) -> None:
        """Return after the next event."""
        await self._changed.wait()

    def held(self, key: AttemptKey) -> Held | None:
        return self.state.attempts.get(key)

    def _has_ended(self, key: AttemptKey) -> bool:
        return (held := self.held(key)) is None or held.final is not None

    def latest(self, task_id: str) -> Held | None:
        """Return the newest attempt of a task that is here."""
        found = [held for key, held in self.state.attempts.items() if key.task_id == task_id]
        return max(found, key=lambda held: held.key.attempt, default=None)

    async def sweep(self) -> None:
        """Remove what is this worker's and nobody knows. Raises RuntimeFailure."""
        self._spawn(self._forget_again())
        self.feed(Swept(seen=await self._inventory()))

    async def check(self) -> str | None:
        """Return why no work should come here at the moment; None if all is well."""
        for name, runtime in self.runtimes.items():
            if (problem := await runtime.check()) is not None:
                return f"{name}: {problem}"
        return self._journal.problem

    # What the runtimes tell

    def _observe(self, told: Found | Gone) -> None:
        if self._early is not None:
            self._early.append(told)
        elif isinstance(told, Found):
            self.feed(news_of(told))
        else:
            key = AttemptKey(task_id=told.task_id, attempt=told.attempt)
            self.feed(Vanished(key=key, container=told.container_name))

    async def _inventory(self) -> tuple[Seen, ...]:
        found: list[Found] = []
        self._owners.clear()
        for runtime in self.runtimes.values():
            there = await _answer(runtime.inventory())
            self._owners |= {one.container_id: runtime for one in there}
            found += there
        self.gpus.adopt(found)
        return tuple(seen_from(one) for one in found)

    # Instructions

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an instruction failed unexpectedly", exc_info=error)

    def _set_timer(self, instruction: SetTimer) -> None:
        timer = instruction.timer
        if (before := self._timers.pop(timer, None)) is not None:
            before.cancel()
        delay = max(0.0, instruction.at - self.clock.monotonic())
        self._timers[timer] = asyncio.get_running_loop().call_later(delay, self._fire, instruction)

    def _fire(self, instruction: SetTimer) -> None:
        """The loop's clock is another than the agent's, and calls some milliseconds early."""
        if self.clock.monotonic() < instruction.at:
            self._set_timer(instruction)
            return
        self._timers.pop(instruction.timer, None)
        self.feed(TimerFired(timer=instruction.timer))

    async def _write_intent(self, instruction: WriteIntent) -> None:
        key = instruction.assignment.key
        try:
            await self._journal.write(instruction)
        except Unavailable as error:
            self.feed(IntentFailed(key=key, error=error.message))
        else:
            self.feed(IntentWritten(key=key))

    async def _write_notes(self, instruction: WriteNotes) -> None:
        try:
            await self._journal.write(instruction, urgent=instruction.urgent)
        except Unavailable as error:
            _log.warning("a note on task %s is not kept yet: %s", instruction.key.task_id, error.message)
            self.feed(NotNoted(key=instruction.key))
        else:
            self.feed(Noted(key=instruction.key, notes=instruction.notes))

    async def _write_exit(self, instruction: WriteExit) -> None:
        try:
            await self._journal.write(instruction)
        except Unavailable:
            self.feed(ExitNotWritten(key=instruction.key))
        else:
            self.feed(ExitWritten(key=instruction.key))

    async def _prepare(self, instruction: Prepare) -> None:
        held = self.state.attempts[instruction.key]
        names: dict[str, Any] = {"key": instruction.key, "container": instruction.container}
        try:
            async with self._preparing:
                admitted = await _answer(self.admission.admit(held.assignment))
                work = work_of(self.cluster_id, admitted, instruction.container)
                work = self.gpus.given(work, self._has_ended)
                with metered() as engine:
                    found = await _answer(self._runtime(held).prepare(work))
                self.gpus.adopt((found,))
        except RuntimeFailure as error:
            self.feed(PrepareFailed(**names, error_code=error.code, error=error.message))
        else:
            self.spans.put(instruction.key, StartSpans(prepare_seconds=engine.seconds))
            self.feed(Prepared(**names, seen=seen_from(found)))

    async def _start(self, instruction: Start) -> None:
        runtime = self._runtime(self.state.attempts[instruction.key])
        names: dict[str, Any] = {"key": instruction.key, "container": instruction.container}
        start = runtime.restart if instruction.again else runtime.start
        try:
            async with self._starting:
                with metered() as engine:
                    found = await _answer(start(instruction.container_id))
        except RuntimeFailure as error:
            self.feed(StartFailed(**names, error_code=error.code, error=error.message))
        else:
            self._note_start(instruction.key, engine)
            self.feed(Started(**names, seen=seen_from(found)))

    def _note_start(self, key: AttemptKey, engine: Meter) -> None:
        spans = self.spans.get(key)
        self.spans.put(
            key, replace(spans, start_seconds=engine.seconds, start_returned_at=engine.returned_at)
        )

    async def _stop(self, instruction: Stop) -> None:
        runtime = self._runtime(self.state.attempts[instruction.key])
        try:
            stop = runtime.stop(instruction.container_id, instruction.signal, instruction.grace_seconds)
            await _answer(stop)
        except RuntimeFailure as error:
            _log.warning("task %s cannot be stopped yet: %s", instruction.key.task_id, error.message)
            self.feed(StopFailed(key=instruction.key, container=instruction.container))

    async def _look(self, instruction: Look) -> None:
        try:
            found = await _answer(self._runtime(self.state.attempts[instruction.key]).inventory())
        except RuntimeFailure:
            self.feed(LookFailed(key=instruction.key))
            return
        seen = [seen_from(one) for one in found]
        self.feed(Looked(key=instruction.key, seen=tuple(one for one in seen if one.key == instruction.key)))

    async def _save(self, instruction: SaveLogs) -> None:
        async with self._saving:
            await self.save_logs(instruction.key)
        self.feed(LogsSaved(key=instruction.key))

    async def _remove(self, instruction: Remove) -> None:
        runtime = self._runtime(self.state.attempts[instruction.key])
        try:
            async with self._removing:
                for container_id in instruction.container_ids:
                    await _answer(runtime.remove(container_id))
        except RuntimeFailure as error:
            _log.warning("task %s cannot be removed yet: %s", instruction.key.task_id, error.message)
            self.feed(RemoveFailed(key=instruction.key))
        else:
            self.feed(Removed(key=instruction.key))

    async def _discard(self, instruction: Discard) -> None:
        seen, owner = instruction.seen, self._owners[instruction.seen.container_id]
        _log.warning("removing a container nobody knows: %s of task %s", seen.container_id, seen.task_id)
        try:
            async with self._removing:
                await _answer(owner.remove(seen.container_id))
        except RuntimeFailure as error:
            _log.warning("%s cannot be removed yet: %s", seen.container_id, error.message)

    def _forget(self, instruction: Forget) -> None:
        key = instruction.key
        for timer in [timer for timer in self._timers if timer.key == key]:
            self._timers.pop(timer).cancel()
        self._spawn(self._write_forget(instruction))

    async def _write_forget(self, instruction: Forget) -> None:
        try:
            await self._journal.write(instruction, urgent=False)
        except Unavailable as error:
            self._unforgotten.append(instruction)
            _log.warning("task %s stays in the journal: %s", instruction.key.task_id, error.message)

    async def _forget_again(self) -> None:
        """Have the journal forget what it refused to; while it refuses one, the others wait."""
        refused, self._unforgotten = self._unforgotten, []
        if not refused:
            return
        await self._write_forget(refused[0])
        if self._unforgotten:
            self._unforgotten += refused[1:]
        else:
            await asyncio.gather(*map(self._write_forget, refused[1:]))

    # Names

    def _runtime(self, held: Held) -> Runtime:
        return self.runtimes[held.assignment.spec.runtime]

    def runtime_of(self, held: Held) -> Runtime | None:
        """Return the runtime that has the attempt's containers, if this worker has it."""
        return self.runtimes.get(held.assignment.spec.runtime)


async def _save_nothing(key: AttemptKey) -> None:
    """A worker whose logs nobody keeps."""
