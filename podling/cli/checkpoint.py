"""`podling checkpoint`: how far tasks have come, and where their next attempts go on."""

import json
from functools import partial
from typing import Annotated, Any

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.text import short_ids
from podling.client import checkpoints as calls
from podling.client.call import JsonObject
from podling.core.errors import NotFound

_COLUMNS = ("TASK", "SEQUENCE", "TRY", "AT", "PROGRESS", "DATA")
_DATA_CHARACTERS = 60

app = typer.Typer(
    cls=Group,
    help="See and remove checkpoints: what tasks have saved, for their next attempts to go on from.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_Tasks = Annotated[
    list[str], typer.Argument(metavar="TASK...", help="Ids, beginnings of ids, or names.", show_default=False)
]


@app.command("ls", cls=Command)
def ls(
    context: typer.Context,
    tasks: _Tasks,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many of each.")] = None,
) -> None:
    """List the checkpoints of tasks, the newest first."""
    cli: Invocation = context.obj
    found: list[JsonObject] = []
    for task in tasks:
        found += collect(cli, partial(calls.listing, cli.task_id(task)), limit).items
    cli.show(found, lambda: _draw(found))


def _draw(found: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    ids = short_ids(list(dict.fromkeys(one["taskId"] for one in found)))
    print_table(
        _COLUMNS,
        [
            [
                ids[one["taskId"]],
                one["sequence"],
                one["attempt"],
                one["at"],
                _percent(one.get("progress")),
                _short(one["data"]),
            ]
            for one in found
        ],
    )


def _percent(progress: float | None) -> str:
    return "-" if progress is None else f"{progress:g} %"


def _short(data: Any) -> str:
    text = _text(data)
    return text if len(text) <= _DATA_CHARACTERS else text[: _DATA_CHARACTERS - 1] + "…"


def _text(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


@app.command("show", cls=Command)
def show(context: typer.Context, tasks: _Tasks) -> None:
    """Print the last checkpoint of each task; exit code 3 if one has none."""
    cli: Invocation = context.obj
    found = [_latest(cli, task) for task in tasks]
    cli.show(found, lambda: _draw_each(cli, found))


def _latest(cli: Invocation, task: str) -> JsonObject:
    listed = cli.client.send(calls.listing(cli.task_id(task), limit=1)).items
    if not listed:
        raise NotFound(f"the task {task} has saved no checkpoint", code="checkpoint_not_found")
    return listed[0]


def _draw_each(cli: Invocation, found: list[JsonObject]) -> None:
    for one in found:
        for name, item in one.items():
            if item is not None:
                cli.line(f"{name + ':':<26} {_text(item)}")
        cli.line()


@app.command("rm", cls=Command)
def rm(
    context: typer.Context,
    tasks: _Tasks,
    keep: Annotated[int, typer.Option(metavar="N", min=0, help="Leave the last so many.")] = 0,
) -> None:
    """Remove the checkpoints of tasks: their next attempts begin anew."""
    cli: Invocation = context.obj
    ids = [cli.task_id(task) for task in tasks]
    told = [cli.client.send(calls.remove(task_id, keep)) for task_id in ids]
    removed = [{"taskId": task_id, **one} for task_id, one in zip(ids, told, strict=True)]
    cli.show(removed, lambda: cli.line(f"{sum(one['removed'] for one in removed)} removed"))
