"""`podling lock`: locks that one holds at a time."""

from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.text import parse_duration
from podling.client import coordination as calls
from podling.client.call import JsonObject

_COLUMNS = ("KEY", "OWNER", "TOKEN", "SINCE", "UNTIL")

app = typer.Typer(
    cls=Group,
    help="Take, keep and free locks that one holds at a time.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_KEY = typer.Argument(metavar="KEY", help="What the lock is called.")
_TTL = typer.Option("--ttl", metavar="SECONDS", help="How long it lives if nobody extends it: 30, 10m.")
_TOKEN = typer.Option("--token", min=1, metavar="N", help="The number that acquire printed.")
_WAIT = typer.Option("--wait", metavar="SECONDS", help="Wait in line for so long: 30, 10m.")
_OWNER = typer.Option("--owner", metavar="NAME", help="Who holds it; the same one may acquire it again.")


@app.command("list", cls=Command)
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 500,
) -> None:
    """List the locks that are held, by their keys."""
    cli: Invocation = context.obj
    page = collect(cli, calls.locks, limit)
    cli.show(page.items, lambda: _draw(page.items))


def _draw(locks: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    rows = [
        [lock["key"], lock["owner"], lock["token"], lock["acquiredAt"], lock["expiresAt"]] for lock in locks
    ]
    print_table(_COLUMNS, rows)


@app.command("acquire", cls=Command)
def acquire(
    context: typer.Context,
    key: Annotated[str, _KEY],
    ttl: Annotated[str, _TTL] = "30",
    owner: Annotated[str | None, _OWNER] = None,
    wait: Annotated[str, _WAIT] = "0",
) -> None:
    """Take the lock, and print its token; exit code 4 if somebody else has it."""
    import secrets

    cli: Invocation = context.obj
    seconds, patience = parse_duration(ttl, "--ttl"), parse_duration(wait, "--wait")
    call = calls.acquire(key, owner or secrets.token_hex(16), seconds, patience)
    lock = cli.client.send(call)
    cli.show(lock, lambda: cli.line(str(lock["token"])))


@app.command("extend", cls=Command)
def extend(
    context: typer.Context,
    key: Annotated[str, _KEY],
    token: Annotated[int, _TOKEN],
    ttl: Annotated[str, _TTL] = "30",
) -> None:
    """Let it live so long from now on; exit code 4 if it is not held with this token."""
    cli: Invocation = context.obj
    lock = cli.client.send(calls.extend(key, token, parse_duration(ttl, "--ttl")))
    cli.show(lock, lambda: cli.line(f"lock {key} lives until {lock['expiresAt']}"))


@app.command("release", cls=Command)
def release(context: typer.Context, key: Annotated[str, _KEY], token: Annotated[int, _TOKEN]) -> None:
    """Free it; exit code 4 if it is not held with this token."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.release(key, token))
    cli.show(told, lambda: cli.line(f"lock {key} is free"))


@app.command("force-release", cls=Command)
def force_release(context: typer.Context, key: Annotated[str, _KEY]) -> None:
    """Free it, whoever holds it: that one may not know, so what it writes has to be fenced by its token."""
    cli: Invocation = context.obj
    told = cli.client.send(calls.force_release(key))
    cli.show(told, lambda: cli.line(f"lock {key} is free"))


@app.command("run", cls=Command)
def run(
    context: typer.Context,
    key: Annotated[str, _KEY],
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, and its words.")
    ],
    ttl: Annotated[str, _TTL] = "30",
    owner: Annotated[str | None, _OWNER] = None,
    wait: Annotated[str, _WAIT] = "0",
) -> None:
    """Hold the lock while a command runs, and end with its exit code.

    The command finds PODLING_LOCK_KEY and PODLING_LOCK_TOKEN. If the lock is lost it is told to end
    (SIGTERM, and SIGKILL ten seconds later), and the exit code is 1.
    """
    from podling.cli.held_command import run_while_held

    cli: Invocation = context.obj
    seconds, patience = parse_duration(ttl, "--ttl"), parse_duration(wait, "--wait")
    with cli.client.lock(key, seconds, owner=owner, wait_seconds=patience) as lock:
        code = run_while_held(lock, command)
        if lock.lost.is_set():
            cli.note(f"podling: the lock {key} was lost while the command ran, so it was told to end")
            raise typer.Exit(FAILED)
    if code:
        raise typer.Exit(code)
