"""`podling breaker`: circuit breakers."""

from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.text import parse_duration
from podling.client import coordination as calls
from podling.client.call import JsonObject

_COLUMNS = ("KEY", "STATE", "FAILURES", "OPENED", "LAST FAILURE", "LAST SUCCESS")
_FIELDS = ("key", "state", "failureCount", "openedAt", "lastFailureAt", "lastSuccessAt")

app = typer.Typer(
    cls=Group,
    help="See and set circuit breakers, which leave alone for a while what keeps failing.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_KEY = typer.Argument(metavar="KEY", help="What the breaker is called.")
_COOL_DOWN = typer.Option("--cool-down", metavar="SECONDS", help="How long it stays open: 30, 10m.")


@app.command("list", cls=Command)
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 500,
) -> None:
    """List the breakers that were used, by their keys."""
    cli: Invocation = context.obj
    page = collect(cli, calls.breakers, limit)
    cli.show(page.items, lambda: _draw(page.items))


def _draw(breakers: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, [[breaker[field] for field in _FIELDS] for breaker in breakers])


@app.command("show", cls=Command)
def show(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Show one; one that nobody has used is closed."""
    _tell(context.obj, context.obj.client.send(calls.breaker(key)))


@app.command("set", cls=Command)
def set_(
    context: typer.Context,
    key: Annotated[str, _KEY],
    state: Annotated[str, typer.Argument(metavar="STATE", help="closed, open or half-open.")],
    cool_down: Annotated[str, _COOL_DOWN] = "30",
) -> None:
    """Set it by hand."""
    seconds = parse_duration(cool_down, "--cool-down")
    _tell(context.obj, context.obj.client.send(calls.set_breaker(key, state.replace("-", "_"), seconds)))


@app.command("failure", cls=Command)
def failure(
    context: typer.Context,
    key: Annotated[str, _KEY],
    max_failures: Annotated[int, typer.Option(metavar="N", min=1, help="Open it at so many.")] = 5,
    cool_down: Annotated[str, _COOL_DOWN] = "30",
) -> None:
    """Count a failure."""
    seconds = parse_duration(cool_down, "--cool-down")
    _tell(context.obj, context.obj.client.send(calls.failure(key, max_failures, seconds)))


@app.command("success", cls=Command)
def success(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Count a success: it closes one that is half open."""
    _tell(context.obj, context.obj.client.send(calls.success(key)))


@app.command("allow", cls=Command)
def allow(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Ask whether to go ahead; exit code 1 if not. Who may has to tell what came of it."""
    cli: Invocation = context.obj
    permit = cli.client.send(calls.allow(key))
    answer = "go ahead" if permit["allowed"] else f"not for {permit['retryAfterSeconds']:.3g} s"
    cli.show(permit, lambda: cli.line(f"{permit['state']}: {answer}"))
    if not permit["allowed"]:
        raise typer.Exit(FAILED)


def _tell(cli: Invocation, breaker: JsonObject) -> None:
    count = breaker["failureCount"]
    cli.show(breaker, lambda: cli.line(f"breaker {breaker['key']} is {breaker['state']}, failures {count}"))
