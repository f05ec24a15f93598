"""A machine that runs work, as the masters know it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from podling.core.value import value


class NodeStatus(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


@value
class Drain:
    """An operator's wish that a node be emptied. What still runs after `deadline_seconds` is stopped.

    The seconds are counted by the leader, on its own clock; `since` is for display.
    """

    since: datetime
    deadline_seconds: float | None = None


@value
class Node:
    """`capacity` is what the machine has, `allocatable` what tasks may use of it; both by resource.

    `session_no` grows with every session of the node, and only the newest counts. A node that
    registered by REST alone has `session_no` 0 and is never planned on. `instance` is new at every
    start of its worker program. A node with a `drain` is `cordoned` too.
    """

    node_id: str
    hostname: str
    port: int
    status: NodeStatus
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    registered_at: datetime
    last_heartbeat: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()
    session_no: int = 0
    master_id: str | None = None
    cordoned: bool = False
    drain: Drain | None = None
    unhealthy: str | None = None  # why its runtime takes no new work
    lost_reason: str | None = None
    version: str | None = None
    instance: str | None = None

    @property
    def is_online(self) -> bool:
        return self.status is NodeStatus.ONLINE

    @property
    def is_schedulable(self) -> bool:
        """Whether new work may be planned on it."""
        return (
            self.status is NodeStatus.ONLINE
            and self.session_no > 0
            and not self.cordoned
            and self.unhealthy is None
        )


class NodeChangeKind(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    LOST = "lost"
    CORDONED = "cordoned"
    UNCORDONED = "uncordoned"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"
    REMOVED = "removed"


@value
class NodeChange:
    """What the feed tells of a node; for more, load it."""

    node_id: str
    kind: NodeChangeKind
    reason: str | None = None


def changes_between(before: Node | None, after: Node | None) -> tuple[NodeChange, ...]:
    """Return what became of a node, in words; beats and sessions alone are no change."""
    if after is None:
        return () if before is None else (_change(before, NodeChangeKind.REMOVED),)
    found = []
    if after.is_online != (before is not None and before.is_online):
        found.append(_presence(after))
    if before is not None and after.unhealthy != before.unhealthy:
        kind = NodeChangeKind.UNHEALTHY if after.unhealthy else NodeChangeKind.HEALTHY
        found.append(_change(after, kind, after.unhealthy))
    if before is not None and (after.cordoned, after.drain) != (before.cordoned, before.drain):
        found.append(_change(after, _service(after)))
    return tuple(found)


def _presence(after: Node) -> NodeChange:
    if after.is_online:
        return _change(after, NodeChangeKind.ONLINE)
    kind = NodeChangeKind.LOST if after.lost_reason else NodeChangeKind.OFFLINE
    return _change(after, kind, after.lost_reason)


def _service(after: Node) -> NodeChangeKind:
    if after.drain is not None:
        return NodeChangeKind.DRAINING
    return NodeChangeKind.CORDONED if after.cordoned else NodeChangeKind.UNCORDONED


def _change(node: Node, kind: NodeChangeKind, reason: str | None = None) -> NodeChange:
    return NodeChange(node_id=node.node_id, kind=kind, reason=reason)
