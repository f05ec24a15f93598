"""What is wrong, or soon will be: the facts gathered here, the judgement in `podling.core.doctor`."""

import asyncio
import shutil
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from podling.core.doctor import (
    MOST_COUNTED_IN_INBOX,
    MOST_SUSPECTS,
    Cluster,
    examine_cluster,
    node_name,
    patience,
)
from podling.core.doctor_database import examine_database
from podling.core.doctor_machine import (
    examine_clock,
    examine_disks,
    examine_engines,
    examine_versions,
    skew,
)
from podling.core.errors import NotFound, PodlingError, StoreUnavailable
from podling.core.facts import DiskFacts, StoreFacts, WorkerFacts
from podling.core.findings import Finding, Severity, in_order
from podling.core.node import Node
from podling.master.context import MasterContext
from podling.master.operations.cluster import leader_of
from podling.master.sessions.facts import FactsTable, Told
from podling.store.base import Master

STORE_SECONDS = 8.0
MOST_REFUSED_TOLD = 20

_Answer = TypeVar("_Answer")


def keep_facts(context: MasterContext, table: FactsTable, node_id: str, facts: WorkerFacts) -> None:
    """Keep what a worker tells of its machine. Raises NotFound."""
    if context.view.node(node_id) is None:
        raise NotFound.of("node")
    now = context.clock.now()
    ahead = skew(facts.at, now, now)
    table.keep(node_id, Told(facts, ahead, context.clock.monotonic()))


async def examine(
    context: MasterContext, table: FactsTable, whole: bool, patience_seconds: float = STORE_SECONDS
) -> dict[str, Any]:
    """Return the findings about this master and its workers, and if `whole` about the cluster too.

    A store that does not answer within `patience_seconds` is a finding, like one that is away.
    """
    findings = [*await _own(context), *_workers(context, table), *_refused(context)]
    masters: Sequence[Master] = ()
    try:
        masters, found = await _in_time(_store(context, whole), patience_seconds)
        findings += found
    except PodlingError as error:
        findings.append(_store_away(context, error))
    return {
        "masterId": context.options.master_id,
        "advertiseUrl": context.options.advertise_url,
        "version": context.options.version,
        "scope": "cluster" if whole else "master",
        "at": context.clock.now(),
        "masters": [
            {"masterId": master.master_id, "advertiseUrl": master.advertise_url} for master in masters
        ],
        "findings": in_order(findings),
    }


async def _store(context: MasterContext, whole: bool) -> tuple[Sequence[Master], list[Finding]]:
    """Return the masters on record, if asked for the whole, and what is found with the store's help."""
    findings: list[Finding] = []
    if not whole:
        await _facts(context, findings)
        return (), findings
    masters = await context.store.load_masters()
    return masters, await _cluster(context, masters)


async def _in_time(asking: Coroutine[Any, Any, _Answer], seconds: float) -> _Answer:
    """Return the answer. Raises StoreUnavailable at the deadline, without waiting for a polite end."""
    task = asyncio.create_task(asking)
    _asking.add(task)
    task.add_done_callback(_forget)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        raise StoreUnavailable("the store did not answer in time")
    return task.result()


_asking: set[asyncio.Task[Any]] = set()  # the loop itself would not keep them


def _forget(task: "asyncio.Task[Any]") -> None:
    _asking.discard(task)
    if not task.cancelled():
        task.exception()  # told already, or nobody waits for it any more


def _name(context: MasterContext) -> str:
    return f"master {context.options.advertise_url}"


async def _own(context: MasterContext) -> Iterator[Finding]:
    disks = await asyncio.to_thread(_disks, context.options.directories)
    return examine_disks(_name(context), disks)


def _disks(directories: Mapping[str, Path]) -> list[DiskFacts]:
    """Return what is free below the directories that are there."""
    found = []
    for name, path in directories.items():
        if path.exists():
            usage = shutil.disk_usage(path)
            found.append(DiskFacts(name=name, path=str(path), total_bytes=usage.total, free_bytes=usage.free))
    return found


def _workers(context: MasterContext, table: FactsTable) -> Iterator[Finding]:
    """Look at what the workers told whose sessions are here; those that moved on tell another master."""
    for node_id, told in table.fresh(context.clock.monotonic()):
        node = context.view.node(node_id)
        if node is None or node.master_id != context.options.master_id:
            continue
        subject = node_name(node)
        yield from examine_clock(subject, _name(context), told.ahead_seconds)
        yield from examine_disks(subject, told.facts.disks)
        yield from examine_engines(subject, told.facts.engines)


def _refused(context: MasterContext) -> Iterator[Finding]:
    """Name the workers that this master has turned away; each master tells of its own."""
    is_open = context.credentials.is_open
    for node, reason in context.refusals.all()[:MOST_REFUSED_TOLD]:
        yield Finding(
            severity=Severity.WARNING,
            code="worker_refused",
            subject=node_name(node),
            message=f"its worker is refused: {reason}",
            meaning="it tries all the time, and is back as soon as it is let in",
            remedy="start it without a token, or make the first one"
            if is_open
            else "let it join again with a token for this node, or give it a file with one for workers",
            command=None if is_open else f"podling token create again --join --node {node.node_id}",
        )


async def _facts(context: MasterContext, findings: list[Finding]) -> StoreFacts:
    """Return what the store tells, and note how far its clock is off this master's."""
    before = context.clock.now()
    facts = await context.store.diagnose(before)
    if facts.database is not None:
        ahead = skew(facts.database.now, before, context.clock.now())
        findings.extend(examine_clock("database", _name(context), ahead))
    return await _sorted_out(context, facts)


async def _sorted_out(context: MasterContext, facts: StoreFacts) -> StoreFacts:
    """Few tasks that fit nowhere stay in the ready order, where they stand in nobody's way."""
    if facts.ready is None:
        return facts
    found = await context.store.load_tasks([facts.ready.task_id])
    task = found.get(facts.ready.task_id)
    if task is None or context.view.why_blocked(task, context.clock.monotonic()) is None:
        return facts
    blocked = dict(facts.blocked)
    blocked.setdefault(task.shape, replace(facts.ready, tasks=1))
    return replace(facts, ready=None, blocked=blocked)


async def _cluster(context: MasterContext, masters: Sequence[Master]) -> list[Finding]:
    findings: list[Finding] = []
    facts = await _facts(context, findings)
    leadership = await context.store.leadership()
    nodes = await context.store.load_nodes()
    now = context.clock.now()
    long_ago = now - timedelta(seconds=patience(context.options.lease_seconds))
    by_id = {master.master_id: master for master in masters}
    cluster = Cluster(
        now=now,
        lease_seconds=context.options.lease_seconds,
        leader=leader_of(list(by_id.values()), leadership),
        masters={master_id: master.advertise_url for master_id, master in by_id.items()},
        alive=frozenset(_alive(context, by_id)),
        leases=dict(_leases(context, masters)),
        nodes=nodes,
        live_tasks=await context.store.suspects(long_ago, MOST_SUSPECTS),
        store=facts,
        inbox=await context.store.inbox.depth(MOST_COUNTED_IN_INBOX),
    )
    findings += examine_cluster(cluster)
    if facts.database is not None:
        findings += examine_database(facts.database, len(cluster.alive))
    versions = {
        f"master {by_id[master_id].advertise_url}": by_id[master_id].version for master_id in cluster.alive
    }
    findings += examine_versions(versions, {node_name(node): node.version for node in _running(nodes)})
    return findings


def _alive(context: MasterContext, masters: Mapping[str, Master]) -> Iterator[str]:
    """Yield the masters that beat, and those that this one has not had time to look at."""
    for master_id in masters:
        known = context.masters.get(master_id)
        if known is None or known.alive:
            yield master_id


def _leases(context: MasterContext, masters: Iterable[Master]) -> Iterator[tuple[str, float]]:
    """Yield address and lease of the masters that were seen to beat."""
    for master in masters:
        known = context.masters.get(master.master_id)
        if known is not None and known.alive and known.has_grown and master.lease_seconds is not None:
            yield master.advertise_url, master.lease_seconds


def _running(nodes: Iterable[Node]) -> Iterator[Node]:
    return (node for node in nodes if node.is_online and node.session_no > 0)


def _store_away(context: MasterContext, error: PodlingError) -> Finding:
    return Finding(
        severity=Severity.PROBLEM,
        code="store_away",
        subject=_name(context),
        message=error.message,
        meaning="requests answer 503 and nothing is planned; what runs goes on, and workers keep reports",
        remedy="see that the database runs and can be reached from this master",
        command="podling db verify",
    )
