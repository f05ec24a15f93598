"""Nodes on the wire."""

from collections.abc import Mapping
from typing import Any

from podling.core.errors import InvalidInput
from podling.core.node import Drain, Node
from podling.core.quantity import parse_resource
from podling.core.spec import CPU, MEMORY, SLOTS
from podling.core.value import value
from podling.wire.body import refuse_unknown
from podling.wire.codec import rfc3339

OUTPUT_ONLY = frozenset(
    "nodeId status runningTasks lastHeartbeat resources registeredAt cordoned drain unhealthy runtimes"
    " version sessionNo masterId lostReason used".split()
)

_FIELDS = frozenset({"hostname", "port", "capacity", "cpu", "memory", "labels"})


@value
class Registration:
    """A node that registers by REST, in either of its two historical forms.

    `{hostname, port, capacity}` counts task slots, `{hostname, port, cpu, memory}` quantities.
    """

    hostname: str
    port: int
    capacity: Mapping[str, int]
    labels: Mapping[str, str]


def parse_registration(plain: Mapping[str, Any]) -> Registration:
    """Read a registration. Raises InvalidInput by field; ranges are the policy's to check."""
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _FIELDS)
    capacity = {}
    if "capacity" in given:
        capacity[SLOTS] = _whole_number("capacity", given["capacity"])
    for name in (CPU, MEMORY):
        if name in given:
            capacity[name] = _quantity(name, given[name])
    if not capacity:
        raise InvalidInput.field("capacity", "is required, or else cpu and memory")
    return Registration(
        hostname=_text("hostname", given.get("hostname")),
        port=_whole_number("port", given.get("port")),
        capacity=capacity,
        labels=_labels(given.get("labels", {})),
    )


def _text(name: str, item: Any) -> str:
    if item is None:
        raise InvalidInput.field(name, "is required")
    if not isinstance(item, str):
        raise InvalidInput.field(name, "must be a string")
    return item


def _whole_number(name: str, item: Any) -> int:
    if item is None:
        raise InvalidInput.field(name, "is required")
    if isinstance(item, bool) or not isinstance(item, int):
        raise InvalidInput.field(name, "must be a whole number")
    return item


def _quantity(name: str, item: Any) -> int:
    if isinstance(item, bool) or not isinstance(item, int | float | str):
        raise InvalidInput.field(name, "must be a quantity such as 500m or 256Mi, or a number")
    try:
        return parse_resource(name, item)
    except (ValueError, OverflowError) as error:
        raise InvalidInput.field(name, str(error)) from None


def _labels(item: Any) -> Mapping[str, str]:
    if not isinstance(item, dict) or not all(isinstance(text, str) for text in item.values()):
        raise InvalidInput.field("labels", "must be an object of strings")
    return item


def node_view(node: Node, used: Mapping[str, int], running_tasks: int) -> dict[str, Any]:
    """Return what is read of a node; `used` and `runningTasks` come from live attempts."""
    return {
        "nodeId": node.node_id,
        "hostname": node.hostname,
        "port": node.port,
        "status": node.status.value,
        "capacity": node.allocatable.get(SLOTS, 0),
        "runningTasks": running_tasks,
        "lastHeartbeat": rfc3339(node.last_heartbeat),
        "resources": {
            "capacity": _machine(node.capacity),
            "allocatable": _machine(node.allocatable),
            "used": _machine(used),
        },
        "labels": dict(node.labels),
        "runtimes": list(node.runtimes),
        "registeredAt": rfc3339(node.registered_at),
        "cordoned": node.cordoned,
        "drain": None if node.drain is None else _drain_view(node.drain),
        "unhealthy": node.unhealthy,
        "lostReason": node.lost_reason,
        "version": node.version,
        "sessionNo": node.session_no,
        "masterId": node.master_id,
    }


def _drain_view(drain: Drain) -> dict[str, Any]:
    return {"since": rfc3339(drain.since), "deadlineSeconds": drain.deadline_seconds}


def _machine(amounts: Mapping[str, int]) -> dict[str, int]:
    """CPU in millicores and memory in bytes are always there, other resources by their names."""
    others = {name: amount for name, amount in amounts.items() if name != SLOTS}
    return {CPU: 0, MEMORY: 0} | others
