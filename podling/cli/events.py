"""`podling events`: what happens to tasks and nodes, as it happens."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from podling.cli.invocation import Invocation
from podling.cli.node import find as find_node
from podling.cli.text import parse_since
from podling.client.models import Event

_RESET = "reset"


def events(
    context: typer.Context,
    type_: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="task, node, or one such as task.failed or node.lost. Repeatable."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("-t", "--task", metavar="TASK", help="Only of this one.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Only of tasks of this queue.")] = None,
    node: Annotated[
        str | None, typer.Option(metavar="NODE", help="Only there: an id, its beginning, or a host.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="SELECTOR", help="Only of tasks with such a label: k=v, k!=v, k, !k."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From then on: 5m (ago), or a time; ten minutes are kept."),
    ] = None,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="End after so many.")] = None,
) -> None:
    """Follow what happens to tasks and nodes, until interrupted.

    A master that goes away is left for the next one, without an event lost or told twice.
    """
    cli: Invocation = context.obj
    happened = cli.client.events(
        types=type_ or (),
        task=None if task is None else cli.task_id(task),
        queue=queue,
        node=None if node is None else find_node(cli, node),
        labels=label or (),
        since=None if since is None else parse_since(since, datetime.now(UTC)),
    )
    for number, event in enumerate(happened, 1):
        _show(cli, event)
        if number == count:
            return


def _show(cli: Invocation, event: Event) -> None:
    """Print one event on one line."""
    if cli.settings.json:
        import json

        sys.stdout.write(json.dumps(event) + "\n")
    elif event["type"] == _RESET:
        cli.note(f"some events are missing: {event['reason']}")
    else:
        cli.line(f"{str(event['at'])[11:23]}  {event['type']:<16} {_about(event)}")
    sys.stdout.flush()


def _about(event: Event) -> str:
    if "taskId" not in event:
        return "  ".join(_words(event.get("nodeId"), event.get("reason")))
    attempt = f"attempt {event['attempt']}" if event.get("attempt") else None
    place = f"on {event['nodeId']}" if event.get("nodeId") else None
    done = f"{event['progress']:g} % done" if "progress" in event else None
    return "  ".join(_words(event["taskId"], event.get("name"), attempt, place, done))


def _words(*given: Any) -> list[str]:
    return [str(word) for word in given if word]
