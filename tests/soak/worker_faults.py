"""Workers killed, stopped, lost, restarted."""

import asyncio
import os
import signal
import time
from contextlib import suppress

from podling.boot.worker import EXIT_AT_ONCE
from podling.client import nodes
from podling.client.call import Call, JsonObject
from tests.soak.cluster import RECOVERY_SECONDS, until
from tests.soak.ground import PAST_THE_LEASE, Ground
from tests.soak.mix import LONG_SECONDS

KNOWN_SECONDS = 2.0  # after which every master knows what an operator has said

_SOON = "SELECT clock_timestamp() + make_interval(secs => $1)"
_LEFT_THERE = "SELECT count(*) FROM live_tasks WHERE node_id = $1 AND detail ->> 'held' IS NULL"
_GIVEN_SINCE = (
    "SELECT task_id FROM attempts WHERE node_id = $1 AND (body ->> 'scheduled_at')::timestamptz > $2"
)


class WorkerFaults(Ground):
    """See the module."""

    async def worker_killed(self) -> None:
        name = self.any_worker()
        session = await self.cluster.session(name)
        await self.cluster.workers[name].kill()
        await self.cluster.workers[name].start()
        with self.times.measured("killed worker connected again"):
            await self.cluster.online(name, session)

    async def worker_lost(self) -> None:
        """Killed and away for longer than its lease: found, and its tasks run elsewhere."""
        name = self.any_worker()
        program = self.cluster.workers[name]
        session = await self.cluster.session(name)
        running = await self._repairable(name)
        begin = time.monotonic()
        await program.kill()
        try:
            await until(f"{name} is found lost", lambda: self._is_offline(name))
            self.times.add("worker loss found", time.monotonic() - begin)
            await self._until_elsewhere(name, running, begin)
        finally:
            await program.start()
        await self.cluster.online(name, session)

    async def _is_offline(self, name: str) -> bool:
        return await self.cluster.session(name) == 0

    async def _repairable(self, name: str) -> dict[str, int]:
        """Return tasks that run there and may be run again, with their attempts."""
        rows = await self.cluster.database.fetch(
            "SELECT t.task_id, t.attempt FROM live_tasks t JOIN task_specs s USING (task_id)"
            " WHERE t.node_id = $1 AND t.status = 'running' AND s.body ->> 'on_lost' = 'retry'"
            " AND s.body ->> 'delivery' = 'at_least_once'",
            name,
        )
        return {row["task_id"]: row["attempt"] for row in rows}

    async def _until_elsewhere(self, name: str, running: dict[str, int], begin: float) -> None:
        """Wait until each has a newer attempt that has started, or has ended."""
        left = dict(running)

        async def all_started() -> bool:
            rows = await self.cluster.database.fetch(
                "SELECT t.task_id, t.attempt, t.started_at IS NOT NULL AS started,"
                " t.status IN ('completed', 'failed', 'cancelled') AS ended"
                " FROM all_tasks t WHERE t.task_id = ANY($1)",
                list(left),
            )
            for row in rows:
                elsewhere = row["attempt"] > left[row["task_id"]] and row["started"]
                if elsewhere:
                    self.times.add("task restarted elsewhere", time.monotonic() - begin)
                if elsewhere or row["ended"]:
                    del left[row["task_id"]]
            return not left

        await until(f"the tasks of {name} run elsewhere", all_started)

    async def worker_stopped_past_its_lease(self) -> None:
        name = self.any_worker()
        session = await self.cluster.session(name)
        self.cluster.workers[name].pause()
        try:
            await asyncio.sleep(self.lease * PAST_THE_LEASE)
        finally:
            self.cluster.workers[name].resume()
        with self.times.measured("continued worker connected again"):
            await self.cluster.online(name, session)

    async def worker_restarted(self) -> None:
        name = self.any_worker()
        session = await self.cluster.session(name)
        code = await self.cluster.workers[name].terminate()
        await self.cluster.workers[name].start()
        await self.cluster.online(name, session)
        if code != 0:
            raise AssertionError(f"{name} ended with {code} on SIGTERM")

    async def worker_told_twice(self) -> None:
        """A second SIGTERM ends it at once, whatever it had in hand."""
        name = self.any_worker()
        session = await self.cluster.session(name)
        code = await self.cluster.workers[name].terminate_twice(self.dice.uniform(0, 0.3))
        await self.cluster.workers[name].start()
        await self.cluster.online(name, session)
        # The second may come when the first is done with, and nobody takes signals any more.
        if code not in (0, EXIT_AT_ONCE, -signal.SIGTERM):
            raise AssertionError(f"{name} ended with {code} on its second SIGTERM")

    # Drains

    async def worker_drained(self) -> None:
        """What runs may end there."""
        await self._drain(self.any_worker(), None)

    async def worker_drained_by_a_deadline(self) -> None:
        """What runs is stopped, and goes elsewhere."""
        await self._drain(self.any_worker(), 1.0)

    async def _drain(self, name: str, deadline_seconds: float | None) -> None:
        await self._say(f"{name} is drained", nodes.drain(name, deadline_seconds))
        [[known_from]] = await self.cluster.database.fetch(_SOON, KNOWN_SECONDS)
        how = "without a deadline" if deadline_seconds is None else "by a deadline"
        try:
            with self.times.measured(f"node drained {how}"):
                longest = LONG_SECONDS if deadline_seconds is None else deadline_seconds
                await until(f"{name} is empty", lambda: self._is_empty(name), longest + RECOVERY_SECONDS)
            late = await self.cluster.database.fetch(_GIVEN_SINCE, name, known_from)
        finally:
            await self._say(f"{name} is open again", nodes.uncordon(name))
        if late:
            raise AssertionError(f"{name} was given {[row[0] for row in late]} although it is drained")

    async def _say(self, what: str, call: Call[JsonObject]) -> None:
        async def said() -> bool:
            master = self.dice.choice(list(self.cluster.masters.values()))
            await master.client.send(call)
            return True

        await until(what, said)

    async def _is_empty(self, name: str) -> bool:
        rows = await self.cluster.database.fetch(_LEFT_THERE, name)
        return rows[0][0] == 0

    async def keeper_killed(self) -> None:
        """The parent of plain processes dies; they run on, and how they end is unknown."""
        keepers = self.cluster.keepers()
        if keepers:
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(keepers), signal.SIGKILL)
        await self.cluster.whole()
