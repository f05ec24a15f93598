"""The shell's own promises to the agent."""

import asyncio
import sqlite3
from pathlib import Path

from podling.core.agent_events import LeaseRenewed
from podling.core.agent_instructions import Forget, WriteIntent
from podling.core.errors import Unavailable
from podling.core.protocol import AttemptKey
from podling.kit.clock import SystemClock
from podling.worker.admission import Admission
from podling.worker.datadir import DataDirectory
from podling.worker.journal import Journal, Write
from podling.worker.shell import Shell
from tests.worker.conftest import assignment

LEASE_SECONDS = 0.6


class SlowClock(SystemClock):
    """Goes slower than the event loop's, which therefore calls too early."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * 0.9


class FullJournal(Journal):
    """Refuses what is written while its disk is full."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.is_full = False
        self._answered = asyncio.Semaphore(0)
        super().__init__(database)

    async def write(self, *writes: Write, urgent: bool = True) -> None:
        try:
            if self.is_full:
                raise Unavailable("the disk is full", code="disk_full")
            await super().write(*writes, urgent=urgent)
        finally:
            self._answered.release()

    async def answers(self, count: int) -> None:
        """Return when so many more writes have been answered."""
        for _ in range(count):
            await self._answered.acquire()

    @property
    def has_answered(self) -> bool:
        """Whether a write was answered that nobody waited for."""
        return not self._answered.locked()


async def test_a_timer_that_comes_too_early_is_set_again(tmp_path: Path) -> None:
    data = DataDirectory.open(tmp_path)
    journal = Journal.open(data)
    shell = Shell(cluster_id="c", runtimes={}, journal=journal, clock=SlowClock(), admission=Admission())
    try:
        shell.feed(LeaseRenewed(sent_at=shell.clock.monotonic(), lease_seconds=LEASE_SECONDS))
        async with asyncio.timeout(20):
            while not shell.state.is_lapsed:
                await shell.changed()
        lease = shell.state.lease
        assert lease is not None
        assert shell.clock.monotonic() >= lease.stop_at
    finally:
        await shell.close()
        await journal.close()
        data.close()


async def test_what_a_full_disk_kept_in_the_journal_is_forgotten_by_a_later_sweep(tmp_path: Path) -> None:
    data = DataDirectory.open(tmp_path)
    journal = FullJournal.open(data)
    assert isinstance(journal, FullJournal)
    shell = Shell(cluster_id="c", runtimes={}, journal=journal, clock=SystemClock(), admission=Admission())
    keys = [AttemptKey(task_id=f"t{number}", attempt=1) for number in range(3)]
    try:
        async with asyncio.timeout(20):
            for key in keys:
                await journal.write(WriteIntent(assignment=assignment(key.task_id)))
            await journal.answers(3)
            journal.is_full = True
            shell._hands.carry_out([Forget(key=key) for key in keys])
            await journal.answers(1)
            await shell.sweep()
            await journal.answers(1)
            journal.is_full = False
            assert not journal.has_answered, "all that is refused is one write"
            await shell.sweep()
            await journal.answers(1)
            await shell.sweep()  # nothing is left to be forgotten
            assert not journal.has_answered
    finally:
        await shell.close()
        await journal.close()
    journal = Journal.open(data)
    assert [(row.key, row.done) for row in journal.rows()] == [(key, True) for key in keys]
    await journal.close()
    data.close()
