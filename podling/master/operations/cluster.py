"""The cluster at a glance."""

from collections.abc import Sequence
from typing import Any

from podling.core.node import NodeStatus
from podling.master.context import MasterContext
from podling.store.base import Leadership, Master


async def overview(context: MasterContext) -> dict[str, Any]:
    """Return masters, leader, counts of nodes and tasks. Raises StoreUnavailable."""
    masters = await context.store.load_masters()
    leadership = await context.store.leadership()
    leader = leader_of(masters, leadership)
    counts = context.tally.counts()
    nodes = context.view.nodes()
    return {
        "clusterId": context.cluster_id,
        "version": context.options.version,
        "store": context.store.kind,
        "leader": leader,
        "epoch": leadership.epoch,
        "leaseSeconds": context.options.lease_seconds,
        "masters": [_master(context, master, leader, leadership.epoch) for master in masters],
        "nodes": {
            "online": sum(node.status is NodeStatus.ONLINE for node in nodes),
            "offline": sum(node.status is NodeStatus.OFFLINE for node in nodes),
            "cordoned": sum(node.cordoned for node in nodes),
        },
        "tasks": {status.value: count for status, count in counts.items()},
    }


def _master(context: MasterContext, master: Master, leader: str | None, epoch: int) -> dict[str, Any]:
    """Return a master as the asked one sees it; `alive` is null before it has looked once."""
    known = context.masters.get(master.master_id)
    leads = master.master_id == leader
    return {
        "masterId": master.master_id,
        "advertiseUrl": master.advertise_url,
        "version": master.version,
        "leader": leads,
        "epoch": epoch if leads else None,
        "alive": known.alive if known else None,
        "beatAgeSeconds": context.clock.monotonic() - known.grown_at if known else None,
        "nodes": sum(
            node.is_online and node.session_no > 0 and node.master_id == master.master_id
            for node in context.view.nodes()
        ),
    }


def leader_of(masters: Sequence[Master], leadership: Leadership) -> str | None:
    """Return the id of the master that leads; of several starts of one master, the last one."""
    starts = [master.master_id for master in masters if master.identity == leadership.holder]
    return starts[-1] if starts else None
