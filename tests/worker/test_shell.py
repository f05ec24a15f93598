"""The shell's own promises to the agent."""

import asyncio
from pathlib import Path

from podling.core.agent_events import LeaseRenewed
from podling.kit.clock import SystemClock
from podling.worker.datadir import DataDirectory
from podling.worker.journal import Journal
from podling.worker.shell import Shell

LEASE_SECONDS = 0.6


class SlowClock(SystemClock):
    """Goes slower than the event loop's, which therefore calls too early."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * 0.9


async def test_a_timer_that_comes_too_early_is_set_again(tmp_path: Path) -> None:
    data = DataDirectory.open(tmp_path)
    journal = Journal.open(data)
    shell = Shell(cluster_id="c", runtimes={}, journal=journal, clock=SlowClock())
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
