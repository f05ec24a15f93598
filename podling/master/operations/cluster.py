"""The cluster at a glance."""

from typing import Any

from podling.core.node import NodeStatus
from podling.master.context import MasterContext


async def overview(context: MasterContext) -> dict[str, Any]:
    """Return masters, leader, counts of nodes and tasks. Raises StoreUnavailable."""
    masters = await context.store.load_masters()
    leadership = await context.store.leadership()
    counts = await context.store.count_tasks()
    nodes = context.view.nodes()
    return {
        "clusterId": context.cluster_id,
        "version": context.options.version,
        "store": context.store.kind,
        "leader": context.options.master_id if context.leads else leadership.holder,
        "epoch": leadership.epoch,
        "leaseSeconds": context.options.lease_seconds,
        "masters": [
            {
                "masterId": master.master_id,
                "advertiseUrl": master.advertise_url,
                "version": master.version,
                "leader": context.leads and master.master_id == context.options.master_id,
            }
            for master in masters
        ],
        "nodes": {
            "online": sum(node.status is NodeStatus.ONLINE for node in nodes),
            "offline": sum(node.status is NodeStatus.OFFLINE for node in nodes),
            "cordoned": sum(node.cordoned for node in nodes),
        },
        "tasks": {status.value: count for status, count in counts.items()},
    }
