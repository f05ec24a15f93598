"""`podling audit`: who changed what, from where, and how that went."""

from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.pages import collect
from podling.client import tokens as calls
from podling.client.call import JsonObject

_COLUMNS = ("AT", "WHO", "FROM", "WHAT", "IDS", "OUTCOME")


def audit(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List without a limit.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> None:
    """List who changed what, and who was refused for their role, newest first."""
    cli: Invocation = context.obj
    listed = collect(cli, calls.audit, None if everything else limit)
    cli.show(listed.items, lambda: _draw(listed.items))
    if listed.next_cursor and not cli.settings.json:
        cli.note(f"the list ends after {len(listed.items)}; --limit N or --all shows more")


def _draw(items: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, map(_row, items))


def _row(item: JsonObject) -> list[object]:
    return [
        item["at"],
        item["actor"],
        item.get("address"),
        f"{item['method']} {str(item['route']).removeprefix('/api/v1')}",
        " ".join(f"{name}={text}" for name, text in (item.get("ids") or {}).items()),
        " ".join(filter(None, (item["outcome"], item.get("code")))),
    ]
