"""`podling decisions`: what was refused, and by which rule."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.text import age, short_ids
from podling.client import decisions as calls
from podling.client.call import JsonObject, Page

_COLUMNS = ("LAST", "TIMES", "ACTOR", "DOOR", "TASK", "RULE", "MESSAGE")


def decisions(
    context: typer.Context,
    task: Annotated[
        str | None, typer.Option("--task", "-t", metavar="TASK", help="Only about this task.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only of this code, such as policy_denied.")
    ] = None,
    incoming: Annotated[
        bool, typer.Option("--incoming", help="Only what was refused when it came in.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="At most so many.")] = 50,
) -> None:
    """List what was refused, newest first; the same again is one line that counts."""
    cli: Invocation = context.obj
    task_id = None if task is None else cli.task_id(task)
    page = cli.client.send(calls.listing(task=task_id, code=code, incoming=incoming, limit=limit))
    cli.show(page.items, lambda: _draw(cli, page))


def _draw(cli: Invocation, page: Page) -> None:
    from podling.cli.table import print_table

    if not page.items:
        cli.note("nothing was refused")
        return
    now = datetime.now(UTC)
    ids = short_ids([str(item["taskId"]) for item in page.items if item.get("taskId")])
    print_table(_COLUMNS, [_row(item, ids, now) for item in page.items])
    if page.next_cursor is not None:
        cli.note("there are more; --limit shows up to 500")


def _row(item: JsonObject, ids: dict[str, str], now: datetime) -> list[object]:
    return [
        age(item.get("at"), now),
        item.get("count"),
        item.get("actor"),
        item.get("door"),
        ids.get(str(item.get("taskId"))),
        (item.get("details") or {}).get("rule") or item.get("code"),
        item.get("message"),
    ]
