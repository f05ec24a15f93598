"""`podling wait`: until tasks have ended."""

import time
from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.text import parse_duration
from podling.client.call import JsonObject


def wait(
    context: typer.Context,
    task: Annotated[list[str], typer.Argument(metavar="TASK...", help="Ids, beginnings of ids, or names.")],
    timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Give up after so long (exit code 124): 90, 10m.")
    ] = None,
) -> None:
    """Wait until tasks have ended; 0 if all of them completed, else 1."""
    cli: Invocation = context.obj
    seconds = None if timeout is None else parse_duration(timeout, "--timeout")
    deadline = None if seconds is None else time.monotonic() + seconds
    ids = [cli.task_id(reference) for reference in task]
    ended = []
    for task_id in ids:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        ended.append(cli.client.wait(task_id, left))
        if not cli.settings.json:
            _tell(cli, ended[-1])
    if cli.settings.json:
        cli.print_json(ended)
    if any(item["status"] != "completed" for item in ended):
        raise typer.Exit(FAILED)


def _tell(cli: Invocation, task: JsonObject) -> None:
    code = "" if task.get("exitCode") is None else f" with exit code {task['exitCode']}"
    why = f": {task['error']}" if task.get("error") else ""
    cli.line(f"{task['taskId']} {task['name']} {task['status']}{code}{why}")
