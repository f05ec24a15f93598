"""`podling workflow`: graphs of tasks."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED, INTERRUPTED
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.text import age, visible
from podling.client import workflows as calls
from podling.client.call import JsonObject
from podling.core.errors import InvalidInput

LOOK_SECONDS = 1.0
_COLUMNS = ("ID", "NAME", "STATUS", "TASKS", "AGE")
_ENDED = frozenset({"completed", "failed", "cancelled"})

app = typer.Typer(
    cls=Group,
    help="Run graphs of tasks.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_ID = typer.Argument(metavar="ID", help="The workflow's id.")
_WATCH = typer.Option("--watch", "-w", help="Show it until it has ended; exit code 1 unless it completed.")


@app.command("run", cls=Command)
def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - is standard input.")],
    watch: Annotated[bool, _WATCH] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key never makes a second workflow.")
    ] = None,
) -> None:
    """Submit the graph in a file: all of it, or nothing."""
    from uuid import uuid4

    from podling.cli.workflow_file import read_workflow

    cli: Invocation = context.obj
    try:
        body = read_workflow(file)
    except InvalidInput as error:
        raise typer.BadParameter(error.message, ctx=context) from None
    key = idempotency_key or body.pop("idempotencyKey", None) or str(uuid4())
    made = cli.client.send(calls.submit(body, key))
    if watch:
        _watch(cli, made["workflowId"])
    cli.show(made, lambda: cli.line(made["workflowId"]))


@app.command("ls", cls=Command)
@app.command("list", cls=Command, hidden=True)
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many at most.", min=1)] = 20,
) -> None:
    """List workflows, newest first."""
    cli: Invocation = context.obj
    found = collect(cli, calls.listing, limit).items
    cli.show(found, lambda: _draw(found))


def _draw(found: list[JsonObject]) -> None:
    from datetime import UTC, datetime

    from podling.cli.table import print_table

    now = datetime.now(UTC)
    print_table(_COLUMNS, [_row(workflow, age(workflow["createdAt"], now)) for workflow in found])


def _row(workflow: JsonObject, since: str) -> list[object]:
    counts = ", ".join(f"{count} {status}" for status, count in workflow["counts"].items())
    return [workflow["workflowId"], workflow["name"], workflow["status"], counts, since]


@app.command("show", cls=Command)
def show(
    context: typer.Context, workflow: Annotated[str, _ID], watch: Annotated[bool, _WATCH] = False
) -> None:
    """Show a workflow as a tree; every task is below the last one that it waits for."""
    cli: Invocation = context.obj
    if watch:
        _watch(cli, workflow)
    found = cli.client.send(calls.read(workflow))
    cli.show(found, lambda: _draw_tree(found))


def _draw_tree(workflow: JsonObject) -> None:
    from podling.cli.workflow_tree import console, tree_of

    console().print(tree_of(workflow))


@app.command("cancel", cls=Command)
def cancel(context: typer.Context, workflow: Annotated[str, _ID]) -> None:
    """Stop all of its tasks that have not ended."""
    cli: Invocation = context.obj
    found = cli.client.send(calls.cancel(workflow))
    cli.show(found, lambda: cli.line(f"workflow {found['workflowId']} is {found['status']}"))


def _watch(cli: Invocation, workflow_id: str) -> None:
    """Show it until it has ended, and exit; Ctrl-C leaves it to the master."""
    try:
        ended = _follow(cli, _states(cli, workflow_id))
    except KeyboardInterrupt:
        cli.note(f"left; podling workflow show {workflow_id} tells how it goes on")
        raise typer.Exit(INTERRUPTED) from None
    if cli.settings.json:
        cli.print_json(ended)
    raise typer.Exit(0 if ended["status"] == "completed" else FAILED)


def _states(cli: Invocation, workflow_id: str) -> Iterator[JsonObject]:
    while True:
        state: JsonObject = cli.client.send(calls.read(workflow_id))
        yield state
        if state["status"] in _ENDED:
            return
        time.sleep(LOOK_SECONDS)


def _follow(cli: Invocation, states: Iterator[JsonObject]) -> JsonObject:
    if cli.settings.json:
        return list(states)[-1]
    if not sys.stdout.isatty():
        return _follow_in_lines(cli, states)
    from rich.live import Live

    from podling.cli.workflow_tree import console, tree_of

    state = next(states)
    with Live(tree_of(state), console=console(), auto_refresh=False) as live:
        for state in states:
            live.update(tree_of(state), refresh=True)
    return state


def _follow_in_lines(cli: Invocation, states: Iterator[JsonObject]) -> JsonObject:
    """Into a pipe goes a line for each change."""
    from podling.cli.workflow_tree import name_of

    known: dict[str, str | None] = {}
    for state in states:
        for task in state["tasks"]:
            if known.get(task["taskId"], "pending") != task["status"]:
                cli.line(f"{visible(name_of(task))} {task['status']}")
            known[task["taskId"]] = task["status"]
    cli.line(f"workflow {state['workflowId']} {state['status']}")
    return state
