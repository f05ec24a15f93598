"""The worker's journal on a machine's disk."""

import asyncio
from dataclasses import replace

from podling.core.agent_events import JournalRow
from podling.core.agent_instructions import Forget, WriteExit, WriteIntent, WriteNotes
from podling.worker.journal import Clear, Write, WriteMeta
from tests.sim.machine import Machine


class SimulatedJournal:
    """The port `AttemptJournal`: what was not flushed when the program dies is lost."""

    def __init__(self, machine: Machine) -> None:
        self.problem: str | None = None
        self._machine = machine
        self._queue: list[tuple[Write, asyncio.Future[None] | None]] = []
        self._flush: asyncio.TimerHandle | None = None

    def rows(self) -> tuple[JournalRow, ...]:
        return tuple(self._machine.disk.values())

    def meta(self, name: str) -> str | None:
        return self._machine.meta.get(name)

    async def write(self, *writes: Write, urgent: bool = True) -> None:
        futures: list[asyncio.Future[None]] = []
        for write in writes:  # on disk one by one, for all that may be relied on
            futures.append(asyncio.get_running_loop().create_future())
            self._put(write, futures[-1], 0.001 if urgent else 0.05)
        await asyncio.gather(*futures)

    def write_later(self, write: Write) -> None:
        self._put(write, None, 0.05)

    def _put(self, write: Write, future: "asyncio.Future[None] | None", wait: float) -> None:
        machine = self._machine
        self._queue.append((write, future))
        wait += machine.chance.random() * (0.002 + machine.disk_seconds)
        if self._flush is None or self._flush.when() > machine.loop.time() + wait:
            if self._flush is not None:
                self._flush.cancel()
            self._flush = machine.loop.later(wait, self._write_all)

    def _write_all(self) -> None:
        self._flush = None
        batch, self._queue = self._queue, []
        problem = self._machine.problem
        self.problem = problem.message if problem else None
        if problem is None:
            for write, _ in batch:
                self._apply(write)
        for _, future in batch:
            if future is not None and not future.done():
                future.set_exception(problem) if problem else future.set_result(None)

    def crash(self) -> None:
        """The program dies; the write that was on its way is on disk, or is not."""
        if self._flush is not None:
            self._flush.cancel()
        if self._machine.problem is None and self._machine.chance.random() < 0.3:
            for write, _ in self._queue:
                self._apply(write)
        self._queue.clear()

    def _apply(self, write: Write) -> None:
        disk = self._machine.disk
        match write:
            case WriteIntent(assignment=given):
                disk.setdefault(given.key, JournalRow(key=given.key, assignment=given))
            case WriteNotes(key=key, notes=notes) if key in disk:
                disk[key] = replace(disk[key], notes=notes)
            case WriteExit(key=key, final=final) if key in disk:
                disk[key] = replace(disk[key], final=final)
            case Forget(key=key) if key in disk and not disk[key].done:
                row = disk.pop(key)  # done rows come in the order of their end
                disk[key] = JournalRow(key=key, assignment=None, final=row.final, done=True)
            case WriteMeta(name=name, value=text):
                self._machine.meta[name] = text
            case Clear():
                self._machine.lose_disk()
