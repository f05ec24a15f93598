"""`podling node`: what an operator does to one node."""

import time
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.text import parse_duration
from podling.client import nodes as calls
from podling.client.call import Call, JsonObject
from podling.client.program import MASTER_AWAY_SECONDS
from podling.core.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound
from podling.core.task import Resolution

POLL_SECONDS = 0.5
SETTLED_SECONDS = 2.0  # by then every master knows of a drain, and of what was planned just before it

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


@app.command("drain", cls=Command)
def drain(
    context: typer.Context,
    node: Annotated[str, _NODE],
    deadline: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Stop what still runs after so long: 0, 90, 10m."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing is left on it.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Wait no longer (exit code 124): 90, 10m.")
    ] = None,
) -> None:
    """Empty it: no new work; what runs ends, or is stopped at the deadline and goes elsewhere."""
    cli: Invocation = context.obj
    seconds = None if deadline is None else parse_duration(deadline, "--deadline")
    patience = None if timeout is None else parse_duration(timeout, "--timeout")
    if patience is not None and not wait:
        raise InvalidInput("--timeout is only of use with --wait")
    node_id = find(cli, node)
    answer = cli.client.send(calls.drain(node_id, seconds))
    if wait:
        answer = _emptied(cli, node_id, patience)
    left = answer.get("runningTasks", 0)
    cli.show(answer, lambda: cli.line(f"{node_id} is drained" if not left else _draining(node_id, left)))


def _draining(node_id: str, left: int) -> str:
    return f"{node_id} takes no new work; {left} {'task is' if left == 1 else 'tasks are'} left"


def _emptied(cli: Invocation, node_id: str, patience: float | None) -> JsonObject:
    """Return the node once nothing is left on it, and nothing comes for a while: the leader may be another
    master, which still plans there until it knows.

    Raises DeadlineExceeded, Conflict if it is in use again.
    """
    until = None if patience is None else time.monotonic() + patience
    empty_since: float | None = None
    while True:
        node = cli.client.send(calls.read(node_id).patient(MASTER_AWAY_SECONDS))
        if not node.get("drain"):
            raise Conflict("the drain was ended by somebody else: the node is in service again")
        now = time.monotonic()
        if node.get("runningTasks"):
            empty_since = None
        elif empty_since is None:
            empty_since = now
        elif now - empty_since >= SETTLED_SECONDS:
            return node
        if empty_since is None and until is not None and now >= until:
            message = f"{_draining(node_id, node['runningTasks'])} after {patience:g} s"
            raise DeadlineExceeded(message, code="wait_timed_out")
        time.sleep(POLL_SECONDS)


@app.command("revoke", cls=Command)
def revoke(context: typer.Context, node: Annotated[str, _NODE]) -> None:
    """End its own credential at once; it has to join again, with a token made for it alone."""
    node_id = _find_or_given(context.obj, node)
    answer = context.obj.client.send(calls.revoke(node_id))
    context.obj.show(answer, lambda: context.obj.line(f"{node_id}: {answer['message']}"))


@app.command("remove", cls=Command)
def remove(
    context: typer.Context,
    node: Annotated[str, _NODE],
    lost: Annotated[
        bool,
        typer.Option("--lost", help="You vouch that nothing runs there any more: give up what was there."),
    ] = False,
    held: Annotated[
        Resolution | None,
        typer.Option(metavar="OUTCOME", help="With --lost: retry, completed, failed or cancelled."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --lost: also of a node that was heard of within the lease.")
    ] = False,
) -> None:
    """Take it off the list; a worker that still lives comes back by itself.

    With --lost its tasks are retried elsewhere or failed as their onLost says, without waiting for a
    lease; of those that would be held, --held says what became of them. What runs there all the same
    runs beside its successor until its worker is told. With its whole id that may be said again, if
    something was left of it.
    """
    node_id = _find_or_given(context.obj, node) if lost else find(context.obj, node)
    if lost and not yes:
        _check_silent(context.obj, node_id)
    call = calls.remove(node_id, lost=lost, held=held.value if held else None)
    _do(context.obj, call, f"{node_id} is removed")


def _check_silent(cli: Invocation, node_id: str) -> None:
    """Raise Conflict if the node is online: who says that it is gone may have mistaken it."""
    found = [node for node in cli.client.list_all(calls.listing) if node["nodeId"] == node_id]
    if found and found[0].get("status") == "online":
        raise Conflict(
            f"node {found[0].get('hostname')} ({node_id}) was heard of within the last lease, and what runs"
            " there would run beside its successor: say --yes if you know that it is gone, or else drain it",
            code="node_online",
        )


def _do(cli: Invocation, call: Call[JsonObject], done: str) -> None:
    answer = cli.client.send(call)
    cli.show(answer, lambda: cli.line(done))


def _find_or_given(cli: Invocation, reference: str) -> str:
    """Return the id of the node that is meant, which may be on the list no more."""
    try:
        return find(cli, reference)
    except NotFound:
        return reference


def find(cli: Invocation, reference: str) -> str:
    """Return the id of the node that is meant. Raises NotFound, InvalidInput."""
    listed = cli.client.list_all(calls.listing)
    exact = [node["nodeId"] for node in listed if reference in (node["nodeId"], node.get("hostname"))]
    found = exact or [node["nodeId"] for node in listed if str(node["nodeId"]).startswith(reference)]
    if not found or not reference:
        raise NotFound.of("node")
    if len(found) > 1 and reference not in found:
        raise InvalidInput(f"several nodes are meant by {reference!r}; give the whole id")
    return reference if reference in found else str(found[0])
