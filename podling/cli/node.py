"""`podling node`: what an operator does to one node."""

from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.client import nodes as calls
from podling.client.call import Call, JsonObject
from podling.core.errors import InvalidInput, NotFound

app = typer.Typer(
    cls=Group,
    help="Take a node out of service, back in, or off the list.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_NODE = typer.Argument(metavar="NODE", help="An id, the beginning of one, or a host name.")


@app.command("cordon", cls=Command)
def cordon(context: typer.Context, node: Annotated[str, _NODE]) -> None:
    """Give it no new work; what runs there goes on."""
    node_id = find(context.obj, node)
    _do(context.obj, calls.cordon(node_id), f"{node_id} takes no new work")


@app.command("uncordon", cls=Command)
def uncordon(context: typer.Context, node: Annotated[str, _NODE]) -> None:
    """Give it new work again."""
    node_id = find(context.obj, node)
    _do(context.obj, calls.uncordon(node_id), f"{node_id} takes new work")


@app.command("remove", cls=Command)
def remove(context: typer.Context, node: Annotated[str, _NODE]) -> None:
    """Take it off the list; a worker that still lives comes back by itself."""
    node_id = find(context.obj, node)
    _do(context.obj, calls.remove(node_id), f"{node_id} is removed")


def _do(cli: Invocation, call: Call[JsonObject], done: str) -> None:
    answer = cli.client.send(call)
    cli.show(answer, lambda: cli.line(done))


def find(cli: Invocation, reference: str) -> str:
    """Return the id of the node that is meant. Raises NotFound, InvalidInput."""
    listed = cli.client.send(calls.listing())
    exact = [node["nodeId"] for node in listed if reference in (node["nodeId"], node.get("hostname"))]
    found = exact or [node["nodeId"] for node in listed if str(node["nodeId"]).startswith(reference)]
    if not found:
        raise NotFound.of("node")
    if len(found) > 1 and reference not in found:
        raise InvalidInput(f"several nodes are meant by {reference!r}; give the whole id")
    return reference if reference in found else str(found[0])
