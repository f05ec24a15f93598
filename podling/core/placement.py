"""What a task asks of a node, and whether and how well a node answers it."""

import hashlib
from collections.abc import Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Any, Protocol

from podling.core.node import Node, NodeStatus
from podling.core.places import Kind, named_place, place_of
from podling.core.platforms import platform_constraints
from podling.core.spec import (
    SLOTS,
    Affinity,
    Constraint,
    ContainerSpec,
    Operator,
    Placement,
    Runtime,
    TaskSpec,
)
from podling.core.statements import database_of
from podling.core.value import value

UNLIMITED = 2**31  # slots of a node that names none


@value
class Requirement:
    """All that placement looks at. `requests` holds `slots: 1` beside what the containers ask for;
    `host_ports` are the node's own ports that it takes, as `8080/TCP`.
    """

    runtime: Runtime
    requests: Mapping[str, int]
    placement: Placement = field(default_factory=Placement)
    host_ports: tuple[str, ...] = ()


@value
class Lack:
    """Something a node lacks: `reason` to count by, `message` with the amounts."""

    reason: str
    message: str


class Holdings(Protocol):
    """What is free on a node."""

    @property
    def free(self) -> Mapping[str, int]: ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Host ports in use."""


def requirement_of(spec: TaskSpec) -> Requirement:
    """Add up what the containers ask for; where only a limit is given, that is the request."""
    requests = {SLOTS: 1}
    if spec.handler is not None:
        requests[place_of(Kind.HANDLER, spec.handler)] = 1
    if spec.statement is not None:
        requests[place_of(Kind.DATABASE, database_of(spec))] = 1
    for container in spec.containers:
        for resource, amount in _requests(container).items():
            requests[resource] = requests.get(resource, 0) + amount
    return Requirement(
        runtime=spec.runtime,
        requests=requests,
        placement=_placement(spec),
        host_ports=_host_ports(spec),
    )


def _placement(spec: TaskSpec) -> Placement:
    """Return what was asked for, and where the platforms of its containers exist."""
    more = tuple(rule for container in spec.containers for rule in platform_constraints(container))
    if not more:
        return spec.placement
    return replace(spec.placement, constraints=(*spec.placement.constraints, *more))


def _requests(container: ContainerSpec) -> dict[str, int]:
    return {**container.resources.limits, **container.resources.requests}


def _host_ports(spec: TaskSpec) -> tuple[str, ...]:
    names = {
        f"{port.host_port}/{port.protocol}"
        for container in spec.containers
        for port in container.ports
        if port.host_port
    }
    return tuple(sorted(names))


def shape_of(spec: TaskSpec) -> str:
    """Return the hash of what placement looks at: 16 hexadecimal digits, the same everywhere."""
    requirement = requirement_of(spec)
    placement = requirement.placement
    return _hash(
        requirement.runtime,
        tuple(sorted(requirement.requests.items())),
        requirement.host_ports,
        _NOWHERE_IN_PARTICULAR if placement == _ANYWHERE else _wishes(placement),
    )


def _wishes(placement: Placement) -> tuple[Any, ...]:
    return (
        tuple(sorted(placement.node_selector.items())),
        tuple(sorted(_condition(constraint) for constraint in placement.constraints)),
        tuple(sorted((*_condition(affinity), affinity.weight) for affinity in placement.affinity)),
        placement.spread,
        placement.strategy.value,
    )


_ANYWHERE = Placement()
_NOWHERE_IN_PARTICULAR = _wishes(_ANYWHERE)


@lru_cache(4096)
def _hash(
    runtime: Runtime, requests: tuple[Any, ...], host_ports: tuple[str, ...], wishes: tuple[Any, ...]
) -> str:
    selector, constraints, affinity, spread, strategy = wishes
    # Lists, as masters of an older version wrote them.
    parts = (
        runtime.value,
        list(requests),
        host_ports,
        list(selector),
        list(constraints),
        list(affinity),
        spread,
        strategy,
    )
    return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _condition(condition: Constraint | Affinity) -> tuple[str, str, tuple[str, ...]]:
    return condition.label, condition.operator.value, tuple(sorted(set(condition.values)))


def meets(labels: Mapping[str, str], condition: Constraint | Affinity) -> bool:
    """Whether a node with these labels meets the condition."""
    text = labels.get(condition.label)
    match condition.operator:
        case Operator.IN:
            return text in condition.values
        case Operator.NOT_IN:
            return text not in condition.values
        case Operator.EXISTS:
            return text is not None
        case Operator.DOES_NOT_EXIST:
            return text is None


def affinity_of(node: Node, placement: Placement) -> int:
    """Return the weights of the wishes that the node meets, added up."""
    return sum(wish.weight for wish in placement.affinity if meets(node.labels, wish))


def unavailability(node: Node) -> Lack | None:
    """Return why nothing new may be planned on the node, whatever it is; None if it may."""
    if node.status is not NodeStatus.ONLINE:
        why = f": {node.lost_reason}" if node.lost_reason else ""
        return Lack(reason="offline", message=f"it is offline{why}")
    if node.session_no == 0:
        message = "it is registered by REST only; no worker of it has a session"
        return Lack(reason="no session", message=message)
    if node.drain is not None:
        return Lack(reason="draining", message="it is being drained")
    if node.cordoned:
        return Lack(reason="cordoned", message="it is cordoned")
    if node.unhealthy is not None:
        return Lack(reason="runtime unhealthy", message=f"its runtime is unhealthy: {node.unhealthy}")
    return None


def mismatches(node: Node, runtime: Runtime, placement: Placement) -> tuple[Lack, ...]:
    """Return what of the runtime, the selector and the constraints the node does not meet."""
    lacks = []
    if runtime.value not in node.runtimes:
        offered = ", ".join(node.runtimes) or "none"
        reason = f"runtime {runtime.value} missing"
        lacks.append(Lack(reason=reason, message=f"it has no runtime {runtime.value}, only {offered}"))
    for label, wanted in placement.node_selector.items():
        if node.labels.get(label) != wanted:
            lacks.append(_label_lack(node, f"label {label} != {wanted}", label))
    lacks.extend(
        _label_lack(node, describe_unmet(constraint), constraint.label)
        for constraint in placement.constraints
        if not meets(node.labels, constraint)
    )
    return tuple(lacks)


def _label_lack(node: Node, reason: str, label: str) -> Lack:
    text = node.labels.get(label)
    return Lack(
        reason=reason, message=f"{reason}: " + ("it has no such label" if text is None else f"it is {text}")
    )


def describe_unmet(constraint: Constraint) -> str:
    """Return what is true of a node's label that does not meet the constraint."""
    values = ", ".join(constraint.values)
    match constraint.operator:
        case Operator.IN if len(constraint.values) == 1:
            return f"label {constraint.label} != {values}"
        case Operator.IN:
            return f"label {constraint.label} not in ({values})"
        case Operator.NOT_IN:
            return f"label {constraint.label} in ({values})"
        case Operator.EXISTS:
            return f"label {constraint.label} missing"
        case Operator.DOES_NOT_EXIST:
            return f"label {constraint.label} present"


def shortages(node: Node, holdings: Holdings, requirement: Requirement) -> tuple[Lack, ...]:
    """Return which resources and host ports the node has not enough of at the moment."""
    lacks = []
    for resource, wanted in requirement.requests.items():
        free = holdings.free.get(resource, 0)
        if free < wanted:
            total = node.allocatable.get(resource, 0)
            lacks.append(_resource_lack(resource, wanted, free, total))
    lacks.extend(
        Lack(reason=f"host port {port} in use", message=f"host port {port} is in use")
        for port in requirement.host_ports
        if port in holdings.ports
    )
    return tuple(lacks)


def _resource_lack(resource: str, wanted: int, free: int, total: int) -> Lack:
    reason, place = shortage(resource, total), named_place(resource)
    if place is not None and total == 0:
        return Lack(reason=reason, message=f"it has no {place}")
    return Lack(reason=reason, message=f"{reason}: {wanted} wanted, {max(free, 0)} of {total} free")


def shortage(resource: str, total: int) -> str:
    """Return the reason to count by for too little of a resource, of which the node has so much in all."""
    place = named_place(resource)
    return f"insufficient {resource}" if place is None or total else f"{place} missing"


def lacks_of(node: Node, holdings: Holdings, requirement: Requirement) -> tuple[Lack, ...]:
    """Return everything that keeps the requirement off the node; empty if it fits."""
    unavailable = unavailability(node)
    first = () if unavailable is None else (unavailable,)
    return (
        *first,
        *mismatches(node, requirement.runtime, requirement.placement),
        *shortages(node, holdings, requirement),
    )
