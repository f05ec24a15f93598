"""`podling cancel`, `retry`, `replay` and `resolve`: what a person may do to a task."""

from typing import Annotated

import typer

from podling.cli.exit_codes import exit_code_of
from podling.cli.invocation import Invocation
from podling.client import tasks
from podling.core.errors import PodlingError
from podling.core.task import Resolution

_TASK = typer.Argument(metavar="TASK", help="An id, the beginning of one, or a name.")


def cancel(
    context: typer.Context,
    task: Annotated[list[str], typer.Argument(metavar="TASK...", help="Ids, beginnings of ids, or names.")],
) -> None:
    """Stop tasks; what waits is taken back, what runs is told to stop."""
    cli: Invocation = context.obj
    answers, exit_codes = [], []
    for reference in task:
        try:
            answers.append(cli.client.send(tasks.cancel(cli.task_id(reference)).patient(5)))
        except PodlingError as error:
            cli.tell_error(error, about=reference)
            exit_codes.append(exit_code_of(error))
            continue
        if not cli.settings.json:
            cli.line(f"{answers[-1]['taskId']} {_cancelled(answers[-1]['status'])}")
    if cli.settings.json:
        cli.print_json(answers)
    raise typer.Exit(next(iter(exit_codes), 0))


def _cancelled(status: str) -> str:
    return "cancelled" if status == "cancelled" else "is told to stop"


def retry(context: typer.Context, task: Annotated[str, _TASK]) -> None:
    """Let the next attempt of a waiting task start now."""
    cli: Invocation = context.obj
    answer = cli.client.send(tasks.retry(cli.task_id(task)))
    cli.show(answer, lambda: cli.line(f"{answer['taskId']} need not wait any longer"))


def resolve(
    context: typer.Context,
    task: Annotated[str, _TASK],
    outcome: Annotated[Resolution, typer.Argument(metavar="OUTCOME", help="What became of it.")],
    attempt: Annotated[
        int | None,
        typer.Option(min=1, help="The attempt that is meant, if not the one that is live now."),
    ] = None,
) -> None:
    """Say what became of a held task whose node is lost: retry, completed, failed or cancelled.

    Say --attempt when repeating the command: the next attempt may be held too by then.
    """
    cli: Invocation = context.obj
    found = cli.find(task)
    meant = attempt or found.get("attempt") or None
    answer = cli.client.send(tasks.resolve(str(found["taskId"]), outcome.value, attempt=meant))
    cli.show(answer, lambda: cli.line(f"{answer['taskId']} {answer['status']}"))


def replay(
    context: typer.Context,
    task: Annotated[str, _TASK],
    queue: Annotated[str | None, typer.Option(help="The new task's queue.")] = None,
) -> None:
    """Run an ended task again, as a new task; print its id."""
    cli: Invocation = context.obj
    answer = cli.client.send(tasks.replay(cli.task_id(task), queue=queue))
    cli.show(answer, lambda: cli.line(answer["taskId"]))
