"""`podling nodes`: the machines that run work."""

from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.text import age, cores, megabytes
from podling.client import nodes as calls
from podling.client.call import JsonObject

COLUMNS = ("ID", "HOST", "STATUS", "TASKS", "CPU", "MEMORY", "BEAT", "LABELS", "REMARK")


class Status(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


def nodes(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only those that are so.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="SELECTOR", help="Only with such a label: k=v, k!=v, k, !k. Repeatable."),
    ] = None,
) -> None:
    """List the nodes, with what they have and what is in use."""
    cli: Invocation = context.obj
    wanted = None if status is None else str(status)
    listed = cli.client.list_all(partial(calls.listing, status=wanted, labels=label or ()))
    cli.show(listed, lambda: _draw(listed))


def _draw(listed: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    now = datetime.now(UTC)
    print_table(COLUMNS, [row(node, now) for node in listed])


def row(node: JsonObject, now: datetime) -> list[object]:
    """Return the node's cells, in the order of the columns."""
    resources = node.get("resources") or {}
    used, allocatable = resources.get("used") or {}, resources.get("allocatable") or {}
    return [
        node["nodeId"],
        node.get("hostname"),
        state(node),
        f"{node.get('runningTasks', 0)}/{node.get('capacity', 0)}",
        f"{cores(used.get('cpu', 0))}/{cores(allocatable.get('cpu', 0))}",
        f"{megabytes(used.get('memory', 0))}/{megabytes(allocatable.get('memory', 0))}",
        age(node.get("lastHeartbeat"), now),
        ",".join(f"{name}={item}" for name, item in (node.get("labels") or {}).items()),
        node.get("unhealthy") or node.get("lostReason"),
    ]


def state(node: JsonObject) -> str:
    """Return one word for whether the node takes new work, and why not."""
    if node["status"] != "online":
        return str(node["status"])
    if node.get("unhealthy"):
        return "unhealthy"
    if node.get("drain"):
        return "draining" if node.get("runningTasks") else "drained"
    return "cordoned" if node.get("cordoned") else "online"
