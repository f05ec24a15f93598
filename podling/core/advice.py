"""What a person can do about a task that fits on no node."""

from collections.abc import Sequence

from podling.core.node import Node
from podling.core.places import Kind, Place, named_place
from podling.core.queue import ALL_QUEUES
from podling.core.spec import CPU, MEMORY
from podling.core.statements import DEFAULT_DATABASE
from podling.core.traffic import IN_FLIGHT, PAUSED, RATE, REGISTRY, RESTS, Delay
from podling.core.view import BACKING_OFF, NO_NODE, WhyNot

_UNITS = {CPU: " millicores", MEMORY: " bytes"}


def placement_advice(why: WhyNot, nodes: Sequence[Node]) -> str:
    """Return the step that helps most likely: by what most nodes lack, rather of those that are there."""
    if NO_NODE in why.reasons:
        return "Start a worker that can reach a master; see podling nodes for those that are offline."
    ranked = sorted(why.reasons, key=lambda reason: (reason == "offline", -why.reasons[reason], reason))
    for reason in ranked:
        resource = reason.removeprefix("insufficient ")
        if resource != reason:
            return _resource_advice(resource, why, nodes)
    return _other_advice(ranked[0]) if ranked else "It will be planned again at the next change."


def delay_advice(delay: Delay) -> str:
    """Return what lets a task start that its queue, its key or a registry holds back."""
    name = f"'{ALL_QUEUES}'" if delay.queue == ALL_QUEUES else delay.queue
    if RESTS in delay.details:
        return f"Wait, raise its limit, or let it rest less: podling queue set {name} --throttle-delay TIME."
    match delay.code:
        case code if code == PAUSED:
            return f"Let it go on with podling queue resume {name}."
        case code if code == IN_FLIGHT:
            return f"Wait until a task ends, or raise the cap: podling queue set {name} --max-in-flight N."
        case code if code == RATE:
            return f"Wait, or raise the rate: podling queue set {name} --max-per-minute N."
        case code if code == REGISTRY:
            key = delay.details["breaker"]
            return f"Bring the registry back; to have it tried at once: podling breaker set {key} closed."
        case _:
            return (
                "Wait until the task that holds the key ends, or let more share it:"
                f" podling queue set {name} --max-per-key N."
            )


def _resource_advice(resource: str, why: WhyNot, nodes: Sequence[Node]) -> str:
    wanted = why.requirement.requests.get(resource, 0)
    if (place := named_place(resource)) is not None:
        return f"Wait until a task of {place} ends, add a worker, or raise {_BOUNDS[place.kind]}."
    most = max((node.allocatable.get(resource, 0) for node in nodes), default=0)
    unit = _UNITS.get(resource, "")
    if resource == "slots":
        return "Wait until a task ends, add a node, or raise --capacity of a worker."
    if most < wanted:
        return (
            f"No node has {wanted}{unit} of {resource}, the largest has {most}: lower"
            f" resources.requests.{resource} or add a larger node."
        )
    return f"Wait until tasks end, add a node, or lower resources.requests.{resource} ({wanted}{unit})."


_BOUNDS = {
    Kind.HANDLER: "its concurrency there",
    Kind.DATABASE: "--database-connections there",
}


def _missing(place: Place) -> str:
    if place.kind is Kind.HANDLER:
        how = "with --handlers and the module that registers it"
    elif place.name == DEFAULT_DATABASE:
        how = "with --runtime sql and DATABASE_URL, or have the task name a database"
    else:
        how = f"with --runtime sql --database {place.name}=URL"
    return f"No node has the {place}: start a worker {how}."


def _other_advice(reason: str) -> str:
    if reason.startswith("label "):
        return f"Give a node the label it lacks, or change placement ({reason})."
    kind, _, rest = reason.partition(" ")
    if kind in tuple(Kind):
        return _missing(Place(kind=Kind(kind), name=rest.removesuffix(" missing")))
    if reason.startswith("host port "):
        return "Stop the task that uses the host port, or leave hostPort out."
    if reason in ("cordoned", "draining"):
        return "Uncordon a node with podling node uncordon, or add one."
    if reason == "runtime unhealthy":
        return "Check the container engine on the nodes; see podling nodes."
    if reason.startswith("runtime "):
        return "Start a worker with --runtime that names it."
    if reason == BACKING_OFF:
        return "Pulling or creating its container just failed on those nodes; see its attempts."
    return "Start a worker on the node, or bring it back online."
