"""`podling alert`: who is told when something fails."""

from typing import Annotated, Any

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.flags import given_only, pairs
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.client import alerts as calls
from podling.client.call import JsonObject
from podling.core.errors import InvalidInput

_COLUMNS = ("NAME", "ON", "ABOUT", "TO", "PENDING", "LAST", "RESULT")

app = typer.Typer(
    cls=Group,
    help="Have somebody told when something fails.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_NAME = typer.Argument(metavar="NAME", help="What the rule is called.")


@app.command("create", cls=Command)
def create(
    context: typer.Context,
    name: Annotated[str, _NAME],
    to: Annotated[
        str,
        typer.Argument(
            metavar="WHERE", help="mailto:ADDRESS[,ADDRESS], https://…, or command:NAME of the master's."
        ),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENTS",
            help="failed (the default), completed, cancelled, retrying, lost, held, node_lost; with commas.",
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Only tasks of this queue.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Only tasks with this label. Repeatable.")
    ] = None,
    task_name: Annotated[str | None, typer.Option(help="Only tasks of this name.")] = None,
    named_only: Annotated[
        bool, typer.Option("--named-only", help="Only tasks that name the rule: podling run --alert NAME.")
    ] = False,
    secret: Annotated[
        str | None, typer.Option(metavar="WHSEC", help="Sign calls with this; else one is made.")
    ] = None,
    max_per_minute: Annotated[
        int | None, typer.Option(help="More messages than these (10) are joined into one.")
    ] = None,
) -> None:
    """Make a rule, or replace the one of this name."""
    cli: Invocation = context.obj
    rule = target(to) | given_only(
        {
            "on": [event.strip() for text in on or () for event in text.split(",")],
            "queue": queue,
            "labels": pairs("--label", label) or None,
            "taskName": task_name,
            "namedOnly": named_only or None,
            "secret": secret,
            "maxPerMinute": max_per_minute,
        }
    )
    kept = cli.client.send(calls.save(name, rule))
    cli.show(kept, lambda: _tell_saved(cli, kept))


def target(where: str) -> dict[str, Any]:
    """Read where an alert goes. Raises InvalidInput."""
    scheme, _, rest = where.partition(":")
    match scheme.lower():
        case "mailto" if rest:
            return {"mail": rest.split(",")}
        case "http" | "https":
            return {"http": where}
        case "command" if rest:
            return {"command": rest}
    raise InvalidInput(
        f"{where[:80]!r} says nowhere to send to: write mailto:me@example.org, https://… or command:NAME"
    )


def _tell_saved(cli: Invocation, kept: JsonObject) -> None:
    cli.line(f"alert {kept['name']} tells {_where(kept)} on {', '.join(kept['on'])}")
    if kept.get("secret"):
        cli.line(f"its calls are signed with {kept['secret']}, which is not shown again")
    cli.note(f"podling alert test {kept['name']} sends a sample")


@app.command("list", cls=Command)
def list_(context: typer.Context) -> None:
    """List the rules, what waits to be sent, and what became of the last try."""
    cli: Invocation = context.obj
    listed = cli.client.send(calls.listing())
    cli.show(listed, lambda: _draw(listed))


def _draw(listed: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, [_row(rule) for rule in listed])


def _row(rule: JsonObject) -> list[object]:
    last = rule.get("lastAt")
    return [
        rule["name"],
        ",".join(rule.get("on") or ()),
        _about(rule),
        _where(rule),
        rule.get("pending"),
        last,
        None if last is None else rule.get("lastError") or "sent",
    ]


def _about(rule: JsonObject) -> str:
    if rule.get("namedOnly"):
        return "tasks that name it"
    wanted = [f"queue {rule['queue']}"] if rule.get("queue") else []
    wanted += [f"name {rule['taskName']}"] if rule.get("taskName") else []
    wanted += [f"{key}={text}" for key, text in (rule.get("labels") or {}).items()]
    return " ".join(wanted) or "all tasks"


def _where(rule: JsonObject) -> str:
    if rule.get("http"):
        return str(rule["http"])
    return f"command {rule['command']}" if rule.get("command") else ", ".join(rule.get("mail") or ())


@app.command("delete", cls=Command)
def delete(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Remove the rule; what it had still to send is given up."""
    cli: Invocation = context.obj
    answer = cli.client.send(calls.remove(name))
    cli.show(answer, lambda: cli.line(f"alert {name} is deleted"))


@app.command("test", cls=Command)
def test(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Send a sample now, and show what the receiver said; exit code 1 if it was not delivered."""
    cli: Invocation = context.obj
    tried = cli.client.send(calls.test(name))
    outcome = "delivered" if tried["delivered"] else "not delivered"
    cli.show(tried, lambda: cli.line(f"{outcome}: {tried['answer']}"))
    if not tried["delivered"]:
        raise typer.Exit(FAILED)
