"""Sends what is out of date: old attempts' statuses and reports, old leaders' writes. None may count."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp

from podling.core.errors import PodlingError, StaleEpoch
from podling.core.protocol import Report, ReportKind, ReportOutcome
from podling.store.base import Batch
from podling.store.postgres.store import PostgresStore
from tests.master.fake_worker import FakeWorker, Refused
from tests.soak.cluster import Cluster
from tests.soak.database import DatabaseAway

PAUSE_SECONDS = 5.0
PROBE_SECONDS = 15.0
NODE_ID = "prober"
_SAMPLE = """
SELECT a.task_id, a.attempt, a.node_id, t.version, t.status, t.attempt AS newest
FROM attempts a JOIN all_tasks t USING (task_id)
WHERE a.attempt < t.attempt ORDER BY random() LIMIT 4
"""
_VERSION = "SELECT version, status, attempt FROM all_tasks WHERE task_id = $1"
_AWAY = (PodlingError, DatabaseAway, aiohttp.ClientError, OSError, TimeoutError, AssertionError, Refused)


@dataclass(slots=True)
class Prober:
    """`sent` counts by kind of write; `accepted` says which of them changed anything."""

    cluster: Cluster
    dice: random.Random
    sent: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    _store: PostgresStore | None = None

    async def run(self) -> None:
        """Probe until cancelled; who is away is asked next time."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            try:
                while True:
                    for probe in (partial(self._statuses, http), self._reports, self._leader_writes):
                        with suppress(*_AWAY):
                            async with asyncio.timeout(PROBE_SECONDS):
                                await probe()
                    await asyncio.sleep(PAUSE_SECONDS)
            finally:
                if self._store is not None:
                    await self._store.close()

    async def _old_attempts(self) -> list[Any]:
        return await self.cluster.database.fetch(_SAMPLE)

    async def _statuses(self, http: aiohttp.ClientSession) -> None:
        for row in await self._old_attempts():
            master = self.dice.choice(list(self.cluster.masters.values()))
            body = {"status": self.dice.choice(("running", "completed", "failed")), "attempt": row["attempt"]}
            url = f"{master.url}/api/v1/tasks/{row['task_id']}/status"
            async with http.put(url, json=body) as answer:
                text = await answer.text()
            if answer.status >= 500:
                continue
            self.sent["status of an old attempt (REST)"] += 1
            if answer.status != 409:
                self.accepted.append(f"PUT {url} {body} got {answer.status}: {text[:300]}")

    async def _reports(self) -> None:
        """Report for others' and for old attempts, on a session of a node that was given none."""
        rows = await self._old_attempts()
        master = self.dice.choice(list(self.cluster.masters.values()))
        worker = FakeWorker(master.url, NODE_ID, slots=1, runtimes=())
        await worker.connect()
        try:
            for number, row in enumerate(rows, 1):
                for attempt in (row["attempt"], row["newest"]):
                    sequence = number * 10 + attempt
                    [outcome] = await worker.report(_forged(row["task_id"], attempt, sequence))
                    self.sent["report of an old or foreign attempt (session)"] += 1
                    if outcome is ReportOutcome.APPLIED:
                        self.accepted.append(f"report for {row['task_id']} attempt {attempt} was applied")
        finally:
            await worker.close()

    async def _leader_writes(self) -> None:
        store = await self._opened()
        epoch, _ = await self.cluster.leader()
        old = self.dice.randrange(0, epoch) if epoch else 0
        for beat in await store.load_beats():
            self.sent["node declared lost by an old leader (SQL)"] += 1
            with suppress(StaleEpoch):
                if await store.mark_lost(beat.node_id, beat.counter, old):
                    self.accepted.append(f"epoch {old} of {epoch} marked {beat.node_id} lost")
        self.sent["commit of an old leader (SQL)"] += 1
        number = self.sent["commit of an old leader (SQL)"]
        batch = Batch(master_id=NODE_ID, number=number, now=datetime.now(UTC), tasks=(), epoch=old)
        with suppress(StaleEpoch):
            await store.block((), old)
            await store.commit(batch)
            self.accepted.append(f"epoch {old} of {epoch} committed")

    async def _opened(self) -> PostgresStore:
        if self._store is None:
            store = PostgresStore(self.cluster.database.dsn)
            await store.open()
            self._store = store
        return self._store


def _forged(task_id: str, attempt: int, sequence: int) -> Report:
    now = datetime.now(UTC)
    return Report(
        sequence=sequence,
        task_id=task_id,
        attempt=attempt,
        kind=ReportKind.ENDED,
        at=now,
        finished_at=now,
        exit_code=0,
    )
