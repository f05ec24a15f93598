"""`podling audit`: who changed what, from where, and how that went."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.pages import collect
from podling.cli.text import parse_since
from podling.client import tokens as calls
from podling.client.call import JsonObject

_COLUMNS = ("AT", "WHO", "FROM", "WHAT", "IDS", "OUTCOME")
_BASE = "/api/v1"


def audit(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List without a limit.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this name.")] = None,
    action: Annotated[
        str | None,
        typer.Option(metavar="METHOD[ ROUTE]", help="Only this, such as 'POST /tasks/{id}/cancel'."),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="OUTCOME", help="Only done, refused, failed or unknown.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 10m, or a time in RFC 3339.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then: 10m ago, or a time in RFC 3339.")
    ] = None,
) -> None:
    """List who changed what, and who was refused for their role, newest first."""
    cli: Invocation = context.obj
    now = datetime.now(UTC)
    listing = partial(
        calls.audit,
        actor=actor,
        action=None if action is None else _whole(action),
        outcome=outcome,
        since=None if since is None else parse_since(since, now),
        until=None if until is None else parse_since(until, now, "--until"),
    )
    listed = collect(cli, listing, None if everything else limit)
    cli.show(listed.items, lambda: _draw(listed.items))
    if listed.next_cursor and not cli.settings.json:
        cli.note(f"the list ends after {len(listed.items)}; --limit N or --all shows more")


def _whole(action: str) -> str:
    """Return it as the API has it, also where it is written as the list shows it."""
    method, _, route = action.partition(" ")
    known = not route or route.startswith(_BASE)
    return action if known else f"{method} {_BASE}{route}"


def _draw(items: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, map(_row, items))


def _row(item: JsonObject) -> list[object]:
    return [
        item["at"],
        item["actor"],
        item.get("address"),
        f"{item['method']} {str(item['route']).removeprefix(_BASE)}",
        " ".join(f"{name}={text}" for name, text in (item.get("ids") or {}).items()),
        " ".join(filter(None, (item["outcome"], item.get("code")))),
    ]
