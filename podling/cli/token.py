"""`podling token`: who may use the master, and as what."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.text import age, parse_duration, parse_time, rfc3339, span
from podling.client import tokens as calls
from podling.client.call import Call, JsonObject
from podling.core.errors import InvalidInput, NotFound

_COLUMNS = ("ID", "NAME", "ROLE", "STATE", "EXPIRES IN", "AGE", "NODE")

app = typer.Typer(
    cls=Group,
    help="Make, list and revoke the tokens that requests are let in with.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


class RoleName(StrEnum):
    """What a token that is made by hand may be good for."""

    READER = "reader"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"
    WORKER = "worker"


@app.command("create", cls=Command)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for the list and the audit.")],
    role: Annotated[
        RoleName | None,
        typer.Option(metavar="ROLE", help="reader, submitter, operator, admin or worker."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="End it by itself after so long: 12h, 30d.")
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="To make another machine a node, within an hour or --expires.")
    ] = False,
    uses: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --join: for so many machines (1).")
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(metavar="ID", help="With --join: for this node alone, known or not."),
    ] = None,
) -> None:
    """Make a token and print it; it is shown this once.

    The first token of all is an admin's, and from then on every request needs one. With --join the
    whole command is printed that makes another machine a node.
    """
    cli: Invocation = context.obj
    seconds = None if expires is None else parse_duration(expires, "--expires")
    if join:
        _create_to_join(cli, role, calls.create(name, "join", seconds, uses=uses, node_id=node))
        return
    if uses is not None or node is not None:
        raise InvalidInput("--uses and --node are only of use with --join")
    made = cli.client.send(calls.create(name, role.value if role else None, seconds))
    cli.show(made, lambda: cli.line(made["token"]))
    if cli.settings.token is None or made["role"] != (role and role.value):
        cli.note(
            f"{name} is the first token, so it is an admin's, and from now on every request needs one, those"
            " of workers too: make theirs with podling token create NAME --role worker. Keep it in a file"
            " that only you can read, and name that with --token-file or PODLING_TOKEN_FILE"
        )


def _create_to_join(cli: Invocation, role: RoleName | None, call: Call[JsonObject]) -> None:
    from podling.cli.join import command

    if role is not None:
        raise InvalidInput("--join makes a token that is good for joining alone; leave out --role")
    made = cli.client.send(call)
    to_type = command(cli, made["token"])
    cli.show({**made, "command": to_type}, lambda: cli.line(to_type))


@app.command("list", cls=Command)
def list_tokens(context: typer.Context) -> None:
    """List them, newest first; what is kept of the tokens themselves is a hash."""
    cli: Invocation = context.obj
    listed = collect(cli, calls.listing, None).items
    cli.show(listed, lambda: _draw(listed))


@app.command("revoke", cls=Command)
def revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="An id, the beginning of one, or a name.")],
) -> None:
    """End one at once, and with it what goes on in its name; the last admin's is not ended."""
    cli: Invocation = context.obj
    answer = cli.client.send(calls.revoke(_find(cli, token)))
    cli.show(answer, lambda: cli.line(f"{answer['name']} ({answer['tokenId']}) is revoked"))


def _find(cli: Invocation, reference: str) -> str:
    """Return the id of the token that is meant, the live one of several of a name."""
    listed = collect(cli, calls.listing, None).items
    named = [item for item in listed if item["name"] == reference]
    found = (
        [item for item in listed if item["tokenId"] == reference]
        or [item for item in named if item["revokedAt"] is None]
        or named[:1]
        or [item for item in listed if str(item["tokenId"]).startswith(reference)]
    )
    if not found or not reference:
        raise NotFound.of("token")
    if len(found) > 1:
        raise InvalidInput(f"several tokens are meant by {reference!r}; give the whole id")
    return str(found[0]["tokenId"])


def _draw(listed: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    now = datetime.now(UTC)
    print_table(_COLUMNS, [_row(item, now) for item in listed])


def _row(item: JsonObject, now: datetime) -> list[object]:
    expires = parse_time(item.get("expiresAt"))
    state = _state(item, now)
    return [
        item["tokenId"],
        item["name"],
        item["role"],
        state,
        span((expires - now).total_seconds()) if expires and state == "live" else None,
        age(item["createdAt"], now),
        item.get("nodeId"),
    ]


def _state(item: JsonObject, now: datetime) -> str:
    if item.get("revokedAt"):
        return "revoked"
    return "expired" if item.get("expiresAt") and item["expiresAt"] <= rfc3339(now) else "live"
