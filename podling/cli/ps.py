"""`podling ps`: the tasks, newest first."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.node import find as find_node
from podling.cli.pages import collect
from podling.cli.text import age, parse_time, short_ids, span, visible
from podling.client import tasks
from podling.client.call import JsonObject
from podling.core.errors import NotFound

_COLUMNS = ("ID", "NAME", "STATUS", "AGE", "TOOK", "TRY", "NODE", "IMAGE", "REMARK")
_REMARK_CHARACTERS = 80
_STATEMENT_CHARACTERS = 30


def ps(
    context: typer.Context,
    task: Annotated[str | None, typer.Option("-t", "--task", metavar="TASK", help="Only this one.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only in this state. Repeatable.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Only of this queue.")] = None,
    node: Annotated[
        str | None, typer.Option(metavar="NODE", help="Only on this node: an id, its beginning, or a host.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="SELECTOR", help="Only with such a label: k=v, k!=v, k, !k. Repeatable."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List without a limit.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> None:
    """List tasks, newest first."""
    cli: Invocation = context.obj
    if task is not None:
        found = cli.find(task)
        cli.show(found, lambda: _draw_one(cli, found))
        return
    node_id = None if node is None else _node_id(cli, node)
    filters = partial(tasks.listing, statuses=status or (), queue=queue, node=node_id, labels=label or ())
    listed = collect(cli, filters, None if everything else limit)
    cli.show(listed.items, lambda: _draw(listed.items))
    if listed.next_cursor and not cli.settings.json:
        cli.note(f"the list ends after {len(listed.items)}; --limit N or --all shows more")


def _node_id(cli: Invocation, reference: str) -> str:
    """Return the id of the node that is meant; tasks may still tell of one that was removed."""
    try:
        return find_node(cli, reference)
    except NotFound:
        if not reference or not cli.client.send(tasks.listing(node=reference, limit=1)).items:
            raise
        return reference


def _draw(items: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    now = datetime.now(UTC)
    ids = short_ids([item["taskId"] for item in items])
    nodes = short_ids([item["nodeId"] for item in items if item.get("nodeId")])
    print_table(_COLUMNS, [_row(item, ids, nodes, now) for item in items])


def _row(item: JsonObject, ids: dict[str, str], nodes: dict[str, str], now: datetime) -> list[object]:
    return [
        ids[item["taskId"]],
        item["name"],
        item["status"],
        age(item["createdAt"], now),
        took(item, now),
        item.get("attempt") or "-",
        nodes.get(item.get("nodeId") or ""),
        _what(item),
        remark(item),
    ]


def _what(item: JsonObject) -> str | None:
    if statement := item.get("statement"):
        return _cut(" ".join(visible(statement).split()), _STATEMENT_CHARACTERS)
    return item.get("image") or item.get("handler")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def took(item: JsonObject, now: datetime) -> str:
    """Return how long its attempt has run, or ran."""
    started = parse_time(item.get("startedAt"))
    if started is None:
        return "-"
    return span(((parse_time(item.get("finishedAt")) or now) - started).total_seconds())


def remark(item: JsonObject) -> str:
    """Return what a person should know of it: why it waits, or how it ended."""
    code = item.get("exitCode")
    told = item.get("held") or item.get("schedulingError") or item.get("error") or item.get("errorCode")
    return _cut(visible(told or (f"exit code {code}" if code else how_far(item))), _REMARK_CHARACTERS)


def how_far(item: JsonObject) -> str:
    """Return what a task that goes on says of itself."""
    progress = item.get("progress")
    if progress is None or item.get("status") not in ("scheduled", "running", "pending"):
        return ""
    return f"{progress:g} % done"


def _draw_one(cli: Invocation, item: JsonObject) -> None:
    """Print every field that says something, one to a line."""
    for name, given in item.items():
        if given not in (None, "", [], {}):
            cli.line(f"{name + ':':<20} {_plain(given)}")


def _plain(given: object) -> str:
    if isinstance(given, dict):
        return ", ".join(f"{name}={_plain(item)}" for name, item in given.items())
    if isinstance(given, list):
        return " ".join(_plain(item) for item in given)
    return str(given)
