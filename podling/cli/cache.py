"""`podling cache`: JSON values that programs share."""

import json
from typing import Annotated, Any

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.text import parse_duration
from podling.client import coordination as calls
from podling.core.errors import InvalidInput

app = typer.Typer(
    cls=Group,
    help="Read and write the cache that programs share.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_KEY = typer.Argument(metavar="KEY", help="What the value is kept under.")
_VALUE = typer.Argument(metavar="JSON", help="The value: 7, true, '\"text\"', '{\"a\": [1, 2]}'.")
_TTL = typer.Option("--ttl", metavar="SECONDS", help="How long it lives: 30, 10m; without it, for ever.")


@app.command("keys", cls=Command)
def keys(
    context: typer.Context,
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="A glob ('user:*'), or one of LIKE ('user:%').")
    ] = "*",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many.")] = None,
) -> None:
    """List keys in their order."""
    cli: Invocation = context.obj
    found = list(cli.client.cache.keys(pattern, limit=limit))
    if cli.settings.json:
        cli.print_json(found)
        return
    for key in found:
        cli.line(key)


@app.command("get", cls=Command)
def get(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Print a value as JSON; exit code 3 if there is none."""
    cli: Invocation = context.obj
    found = cli.client.send(calls.cached(key))
    cli.show(found, lambda: cli.line(json.dumps(found["value"], ensure_ascii=False)))


@app.command("set", cls=Command)
def set_(
    context: typer.Context,
    key: Annotated[str, _KEY],
    value: Annotated[str, _VALUE],
    ttl: Annotated[str | None, _TTL] = None,
) -> None:
    """Keep a value."""
    cli: Invocation = context.obj
    kept = cli.client.send(calls.cache(key, read_value(value), ttl_of(ttl)))
    cli.show(kept, lambda: cli.line(f"{key} is kept"))


@app.command("delete", cls=Command)
def delete(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Remove a value; exit code 3 if there is none."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.uncache(key))
    cli.show(told, lambda: cli.line(f"{key} is removed"))


@app.command("clear", cls=Command)
def clear(context: typer.Context) -> None:
    """Remove everything."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.clear_cache())
    cli.show(told, lambda: cli.line(f"{told['removed']} removed"))


@app.command("prune", cls=Command)
def prune(context: typer.Context) -> None:
    """Remove what has run out; the leader does so by itself, now and then."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.prune_cache())
    cli.show(told, lambda: cli.line(f"{told['removed']} removed"))


@app.command("stats", cls=Command)
def stats(context: typer.Context) -> None:
    """Show hits and misses at the master that answers, and how many keys there are."""
    cli: Invocation = context.obj
    seen = cli.client.send(calls.cache_statistics())
    text = f"{seen['size']} keys, {seen['hits']} hits, {seen['misses']} misses, ratio {seen['ratio']:.2f}"
    cli.show(seen, lambda: cli.line(text))


def read_value(text: str) -> Any:
    """Read an argument that is JSON. Raises InvalidInput."""
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidInput(f"{text[:80]!r} is not JSON; write text as '\"{text[:20]}\"'") from None


def ttl_of(text: str | None) -> float | None:
    return None if text is None else parse_duration(text, "--ttl")
