"""`podling wait`: until tasks have ended."""

import time
from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.text import parse_duration
from podling.client.call import JsonObject
from podling.client.program import MASTER_AWAY_SECONDS


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
    ids = [_task_id(cli, reference, _left(deadline)) for reference in task]
    ended = []
    for task_id in ids:
        ended.append(cli.client.wait(task_id, _left(deadline)))
        if not cli.settings.json:
            _tell(cli, ended[-1])
    if cli.settings.json:
        cli.print_json(ended)
    if any(item["status"] != "completed" for item in ended):
        raise typer.Exit(FAILED)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0)


def _task_id(cli: Invocation, reference: str, left: float | None) -> str:
    patience = MASTER_AWAY_SECONDS if left is None else min(left, MASTER_AWAY_SECONDS)
    return str(cli.client.find(reference, patience_seconds=patience)["taskId"])


def _tell(cli: Invocation, task: JsonObject) -> None:
    code = "" if task.get("exitCode") is None else f" with exit code {task['exitCode']}"
    why = f": {task['error']}" if task.get("error") else ""
    cli.line(f"{task['taskId']} {task['name']} {task['status']}{code}{why}")
