"""`podling export` and `podling import`: a running cluster's tasks to a file, and into another cluster."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Annotated

import typer

from podling.cli import queue as queue_noun
from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.pages import collect
from podling.client import schedules, tasks
from podling.client.call import JsonObject
from podling.client.moving import Moved, limits_of, move, read_export
from podling.core.errors import InvalidInput
from podling.kit.files import Draft, writing

_OPEN = ("pending", "scheduled", "running")
_PAGE = 500
_TELL_EVERY = 5000
_PATIENCE_SECONDS = 60.0


def export(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write (-: standard output).")] = "-",
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended tasks too, as history.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there already.")] = False,
) -> None:
    """Write queues with limits, schedules, and tasks that have not ended to a file, one JSON object a line,
    as the API gives them."""
    cli: Invocation = context.obj
    counts: dict[str, int] = {}
    with _output(file, force) as out:
        for queue in queue_noun.listed(cli):
            if limits_of(queue):
                out.write(json.dumps(queue, separators=(",", ":")) + "\n")
        for schedule in collect(cli, schedules.listing, None).items[::-1]:
            out.write(json.dumps(schedule, separators=(",", ":")) + "\n")
        for number, task in enumerate(_listed(cli, () if everything else _OPEN), start=1):
            out.write(json.dumps(task, separators=(",", ":")) + "\n")
            counts[task["status"]] = counts.get(task["status"], 0) + 1
            _progress(cli, number, "written")
    _tell_export(cli, file, counts)


def _listed(cli: Invocation, statuses: tuple[str, ...]) -> Iterator[JsonObject]:
    """Yield tasks, newest first; one that is submitted meanwhile is for the next export."""
    cursor: str | None = None
    while True:
        call = tasks.listing(statuses=statuses, limit=_PAGE, cursor=cursor)
        page = cli.client.send(call.patient(_PATIENCE_SECONDS))
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


@contextmanager
def _output(file: str, force: bool) -> Iterator[IO[str]]:
    """Give the file; it takes its place when all is written, so that half an export passes for none."""
    if file == "-":
        yield sys.stdout
        return
    path = Path(file)
    with Draft(path, replace=force) as draft, writing(path):
        out = TextIOWrapper(draft.file, encoding="utf-8")
        yield out
        out.flush()
        draft.finish()


def _tell_export(cli: Invocation, file: str, counts: dict[str, int]) -> None:
    words = ", ".join(f"{counts[status]} {status}" for status in sorted(counts)) or "no tasks"
    if file == "-":
        cli.note(f"exported {words}")
        return
    plain = {"file": file, "tasks": sum(counts.values()), "byStatus": counts}
    cli.show(plain, lambda: cli.line(f"{file}: {words}"))


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote (-: standard input).")] = "-",
    pause_schedules: Annotated[
        bool, typer.Option("--pause-schedules", help="Have schedules wait for podling cron resume.")
    ] = False,
) -> None:
    """Take the limits of an export's queues and its schedules, and submit its tasks that have not ended; to
    do it twice makes no second task."""
    cli: Invocation = context.obj
    moved = Moved(pauses=pause_schedules)
    with _input(file) as text:
        steps = move(
            cli.client.link, read_export(text), moved, lambda count: _progress(cli, count, "accepted")
        )
        cli.client.perform(steps)
    cli.show(moved.plain(), lambda: _draw(cli, moved))
    if moved.refused:
        raise typer.Exit(FAILED)


@contextmanager
def _input(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8") as text:
            yield text
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is no export: it is not UTF-8") from None


def _progress(cli: Invocation, count: int, done: str) -> None:
    if count and count % _TELL_EVERY == 0 and sys.stderr.isatty():
        cli.note(f"{count} tasks {done}")


def _draw(cli: Invocation, moved: Moved) -> None:
    cli.line(f"{len(moved.task_ids)} tasks are in this cluster now, {moved.ended} had ended.")
    for task_id in moved.started:
        cli.line(f"  left out: {task_id} is to run at most once, and has started there")
    for item in moved.refused:
        name = item.get("taskId") or item.get("queue") or item.get("schedule")
        cli.line(f"  refused: {name}: {item.get('error')}")
    if moved.schedules:
        paused = ", paused" if moved.pauses else ""
        cli.line(f"Schedules: {', '.join(moved.schedules)}{paused}")
    for name in moved.schedules_kept:
        cli.line(f"  schedule {name} stays as it is here: podling cron show {name}")
    for name in moved.kept:
        cli.line(f"  queue {name} keeps the limits that it has here: podling queue show {name}")
