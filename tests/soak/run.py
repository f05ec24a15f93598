"""One run: warm up, take the baseline, faults under load, settle, compare, break off streams, compare."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.report import machine
from podling.client import nodes, tasks
from podling.client.call import json_object, path_of, post
from podling.core.errors import PodlingError
from tests.docker_engine import docker
from tests.soak import check, measures, report
from tests.soak.cluster import Cluster, NotRecovered, until
from tests.soak.database import DatabaseAway
from tests.soak.faults import table
from tests.soak.injector import Injector
from tests.soak.ledger import read_ledgers
from tests.soak.load import Load
from tests.soak.measures import Bounds, Times, Usage
from tests.soak.stale import NODE_ID, Prober
from tests.soak.streams import abort_streams

PROGRESS_SECONDS = 10.0
LEFT_SECONDS = 120.0
_TASKS = """
SELECT t.task_id, s.name, t.status, t.attempt, t.error_code, t.exit_code,
       coalesce(t.detail ->> 'held', t.detail ->> 'error') AS reason
FROM all_tasks t JOIN task_specs s USING (task_id)
"""
_ATTEMPTS = """
SELECT task_id, attempt, status, body ->> 'error_code' AS error_code,
       (body ->> 'exit_code')::int AS exit_code, body ->> 'started_at' IS NOT NULL AS started
FROM attempts
"""


@dataclass(slots=True)
class Run:
    """`log` prints a line; `violations` are sentences by kind."""

    cluster: Cluster
    log: Callable[[str], None]
    times: Times = field(default_factory=Times)
    violations: dict[str, list[str]] = field(default_factory=dict)
    load: Load = field(init=False)
    prober: Prober = field(init=False)
    injector: Injector = field(init=False)

    async def complete(self) -> dict[str, Any]:
        """Do all of it and return the result."""
        settings = self.cluster.settings
        dice = random.Random(settings.seed)
        self.load, self.prober = Load(self.cluster), Prober(self.cluster, random.Random(settings.seed + 1))
        every = table(self.cluster, self.times, dice)
        kinds = [kind for kind in every if not settings.only or _is_named(kind.name, settings.only)]
        self.injector = Injector(kinds, dice, self.log)
        await self._warm_up()
        before = await self._usage()
        began = datetime.now(UTC)
        await self._under_faults(settings.minutes * 60)
        await self._settle()
        self.log("comparing the ledger with the store")
        findings, left = await self._compare(), await self._left_behind()
        self.log(f"breaking off {settings.streams} log streams")
        streams = await self._abort_streams(dice)
        self.log(f"idle for {settings.idle_seconds:g} s")
        await asyncio.sleep(settings.idle_seconds)
        after = await self._usage()
        grown = measures.grown(before, after, Bounds())
        self._note("aboveBaseline", grown)
        return {
            "date": began.isoformat(timespec="seconds"),
            "commit": report.commit(),
            "machine": machine(),
            "minutes": settings.minutes,
            "seed": settings.seed,
            "leaseSeconds": settings.lease_seconds,
            "tasks": dict(self.load.by_runtime),
            "faults": dict(self.injector.done),
            "repeatedSubmits": self.load.repeated,
            "staleSent": dict(self.prober.sent),
            "staleAccepted": len(self.prober.accepted),
            "findings": check.as_dict(findings),
            "failures": self.injector.failures,
            "leftBehind": len(left),
            "streams": dict(streams),
            "times": self.times.summary(),
            "before": measures.as_dict(before),
            "after": measures.as_dict(after),
            "grown": grown,
            "violations": {kind: told[:50] for kind, told in self.violations.items()},
        }

    def _note(self, kind: str, told: list[str]) -> None:
        if told:
            self.violations.setdefault(kind, []).extend(told)

    # The phases

    async def _warm_up(self) -> None:
        self.log(f"warming up for {self.cluster.settings.warm_up_seconds:g} s")
        loading = asyncio.create_task(self.load.run())
        await asyncio.sleep(self.cluster.settings.warm_up_seconds)
        self.load.stop()
        await loading
        await self._settle()
        await asyncio.sleep(self.cluster.settings.idle_seconds / 2)

    async def _under_faults(self, seconds: float) -> None:
        self.load.go_on()
        loading = asyncio.create_task(self.load.run())
        others = [asyncio.create_task(self.prober.run()), asyncio.create_task(self._tell_progress())]
        try:
            await self.injector.run(seconds)
        finally:
            self.load.stop()
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await loading
        self._note("failures", self.injector.failures)
        self._note("staleAccepted", self.prober.accepted)
        self._note("refused", self.load.refused)

    async def _settle(self) -> None:
        """Wait until every task has ended or is held."""
        self.log("waiting until every task ends")
        self._note("ended", [f"{name} has ended by itself" for name in self._gone()])
        try:
            await self.cluster.whole()
            await until("every task ends", self._all_ended, self.cluster.settings.settle_seconds)
        except NotRecovered as error:
            self._note("failures", [str(error)])
        await self._forget_the_prober()

    def _gone(self) -> list[str]:
        return [program.name for program in self.cluster.programs() if program.pid is None]

    async def _all_ended(self) -> bool:
        rows = await self.cluster.database.fetch(
            "SELECT count(*) FROM live_tasks WHERE detail ->> 'held' IS NULL"
        )
        await asyncio.sleep(0.5)
        return bool(rows[0][0] == 0)

    async def _forget_the_prober(self) -> None:
        for master in self.cluster.masters.values():
            with suppress(PodlingError):
                await master.client.send(nodes.remove(NODE_ID))
                return

    async def _compare(self) -> check.Findings:
        found = await self.cluster.database.fetch(_TASKS, seconds=60)
        stored = [check.StoredTask(**row) for row in found if row["name"].startswith("soak-")]
        rows = await self.cluster.database.fetch(_ATTEMPTS, seconds=60)
        attempts = [check.StoredAttempt(*row) for row in rows]
        ledger = read_ledgers(self.cluster.ledgers)
        findings = check.check(self.load.accepted(), stored, attempts, ledger, self.times.engine_kills)
        for kind, told in findings.violations().items():
            self._note(kind, told)
        await self._let_go_of_held()
        return findings

    async def _let_go_of_held(self) -> None:
        """Decide about tasks that wait for a node or an operator, as the operator."""
        client = next(iter(self.cluster.masters.values())).client
        for row in await self.cluster.database.fetch("SELECT task_id FROM live_tasks"):
            resolve = post(path_of("tasks", row[0], "resolve"), json_object, {"outcome": "failed"})
            with suppress(PodlingError):
                try:
                    await client.send(resolve)
                except PodlingError:
                    await client.send(tasks.cancel(row[0]))

    async def _left_behind(self) -> list[str]:
        """Return containers, processes and live rows that are still there after a while."""
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := await self._find_left()) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        self._note("leftBehind", left)
        return left

    async def _find_left(self) -> list[str]:
        left = [f"process {pid}" for pid in self.cluster.left_processes()]
        for name, engine in self.cluster.engines.items():
            found = (await asyncio.to_thread(docker, "ps", "-aq", host=engine.host)).split()
            left += [f"container {one} of {name}" for one in found]
        rows = await self.cluster.database.fetch("SELECT task_id, status, detail FROM live_tasks")
        return left + [f"live task {row[0]} ({row[1]}): {row[2]}" for row in rows]

    async def _abort_streams(self, dice: random.Random) -> Counter[str]:
        try:
            return await abort_streams(self.cluster, self.cluster.settings.streams, dice)
        except (NotRecovered, PodlingError) as error:
            self._note("failures", [f"log streams: {error}"])
            return Counter()

    # Numbers

    async def _usage(self) -> dict[str, Usage]:
        usage = {}
        masters = {id(master.program): master for master in self.cluster.masters.values()}
        for program in self.cluster.programs():
            if program.pid is None:
                continue
            master = masters.get(id(program))
            count = measures.connections_of(master.database_relay.port) if master else None
            tasks = await measures.asyncio_tasks_of(master.url if master else self.cluster.urls[program.name])
            usage[program.name] = measures.usage_of(program.pid, count, program.age_seconds, tasks)
        return usage

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            with suppress(DatabaseAway):
                rows = await self.cluster.database.fetch(
                    "SELECT status, count(*) FROM live_tasks GROUP BY status"
                )
                live = ", ".join(f"{row[1]} {row[0]}" for row in rows)
                self.log(
                    f"accepted {dict(self.load.by_runtime)}; {live}; {self.injector.done.total()} faults; "
                    f"{self.prober.sent.total()} stale writes, {len(self.prober.accepted)} accepted"
                )


def _is_named(name: str, wanted: tuple[str, ...]) -> bool:
    return any(word in name for word in wanted)
