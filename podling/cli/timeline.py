"""`podling timeline`: everything that happened to a task, counted from its submission."""

from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from podling.cli.hosts import hosts, with_hosts
from podling.cli.invocation import Invocation
from podling.cli.pages import collect
from podling.client import tasks
from podling.client.call import JsonObject

_BAR = 20


def timeline(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="An id, the beginning of one, or a name.")],
) -> None:
    """Show everything that happened to a task."""
    cli: Invocation = context.obj
    events = collect(cli, partial(tasks.timeline, cli.task_id(task)), None).items
    cli.show(events, lambda: _draw(cli, events))


def _draw(cli: Invocation, events: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    if not events:
        cli.note("nothing has happened to it yet")
        return
    offsets = _offsets(events)
    names = hosts(cli)
    cli.line(f"Times are counted from {events[0]['at']}.")
    rows = [
        (
            offset_text(offset),
            bar(offset, offsets[-1]),
            event["type"],
            event.get("attempt"),
            event.get("actor"),
            with_hosts(event.get("message") or "", names),
        )
        for event, offset in zip(events, offsets, strict=True)
    ]
    print_table(("AT", "", "EVENT", "TRY", "BY", "WHAT"), rows)


def _offsets(events: list[JsonObject]) -> list[float]:
    times = [datetime.fromisoformat(event["at"]) for event in events]
    return [(at - times[0]).total_seconds() for at in times]


def offset_text(seconds: float) -> str:
    """Return `+1.204s`, `+3m02s`, `+5h07m`."""
    sign, size = ("-" if seconds < 0 else "+"), abs(seconds)
    if size < 60:
        return f"{sign}{size:.3f}s"
    if size < 3600:
        return f"{sign}{int(size // 60)}m{int(size % 60):02}s"
    return f"{sign}{int(size // 3600)}h{int(size % 3600 // 60):02}m"


def bar(offset: float, whole: float) -> str:
    """Return a line with a mark where the offset lies in the whole."""
    place = 0 if whole <= 0 else round(min(max(offset / whole, 0), 1) * (_BAR - 1))
    return "─" * place + "●" + "─" * (_BAR - 1 - place)
