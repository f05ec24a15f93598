"""`podling idempotency`: of all that ask for the same work, one does it."""

import json
from typing import Annotated

import typer

from podling.cli.cache import read_value, ttl_of
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.client import coordination as calls
from podling.client.call import JsonObject

app = typer.Typer(
    cls=Group,
    help="Claim work by a key, and keep what came of it.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_KEY = typer.Argument(metavar="KEY", help="What the work is known by.")


@app.command("claim", cls=Command)
def claim(
    context: typer.Context,
    key: Annotated[str, _KEY],
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="SECONDS", help="How long the work may take: 30, 10m.")
    ] = "1h",
) -> None:
    """Print `claimed` and a token, `in_progress`, or `done` and what came of it."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.claim(key, ttl_of(ttl)))
    cli.show(told, lambda: cli.line(_claimed(told)))


def _claimed(told: JsonObject) -> str:
    match told["status"]:
        case "claimed":
            return f"claimed {told['token']}"
        case "done":
            return f"done {json.dumps(told['value'], ensure_ascii=False)}"
        case status:
            return str(status)


@app.command("get", cls=Command)
def get(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Print what came of it as JSON; exit code 3 if nothing did so far."""
    cli: Invocation = context.obj
    found = cli.client.send(calls.outcome(key))
    cli.show(found, lambda: cli.line(json.dumps(found["value"], ensure_ascii=False)))


@app.command("set", cls=Command)
def set_(
    context: typer.Context,
    key: Annotated[str, _KEY],
    value: Annotated[str, typer.Argument(metavar="JSON", help="What came of it.")],
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="SECONDS", help="How long to keep it; without it, for ever."),
    ] = None,
    token: Annotated[
        int | None,
        typer.Option("--token", min=1, metavar="N", help="Only if the claim with this number still holds."),
    ] = None,
) -> None:
    """Keep what came of it; exit code 4 if the claim has run out."""
    cli: Invocation = context.obj
    kept = cli.client.send(calls.save_outcome(key, read_value(value), ttl_of(ttl), token))
    cli.show(kept, lambda: cli.line(f"{key} is kept"))


@app.command("delete", cls=Command)
def delete(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Forget what came of it, or the claim; exit code 3 if there is neither."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.forget_outcome(key))
    cli.show(told, lambda: cli.line(f"{key} is forgotten"))
