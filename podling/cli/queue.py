"""`podling queue`: how much of each queue may run."""

from typing import Annotated, Any

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.text import parse_duration
from podling.client import queues as calls
from podling.client.call import JsonObject
from podling.core.errors import InvalidInput, NotFound

OFF = "off"
_LIMITS = {
    "maxInFlight": "IN FLIGHT",
    "maxPerMinute": "A MINUTE",
    "maxPerKey": "A KEY",
    "weight": "WEIGHT",
}
_COLUMNS = ("QUEUE", "RUNNING", *_LIMITS.values(), "STATE")
_SHOWN = ("throttleDelaySeconds", "ageingSeconds", "maxPayloadBytes", "maxSubmitsPerMinute")

app = typer.Typer(
    cls=Group,
    help="Say how much of each queue may run.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_NAME = typer.Argument(metavar="QUEUE", help="Its name; '*' stands for all queues together.")


def _limit(help_: str, metavar: str = "N") -> Any:
    return typer.Option(metavar=metavar, help=f"{help_}; off takes the limit off.")


@app.command("list", cls=Command)
def list_(context: typer.Context) -> None:
    """List queues that were used or declared, what runs of each, and its limits."""
    cli: Invocation = context.obj
    found = listed(cli)
    cli.show(found, lambda: _draw(found))


def listed(cli: Invocation) -> list[JsonObject]:
    """Return all queues, by their names."""
    found: list[JsonObject] = []
    cursor: str | None = None
    while True:
        page = cli.client.send(calls.listing(cursor=cursor))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def _draw(found: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, [_row(queue) for queue in found])


def _row(queue: JsonObject) -> list[object]:
    return [
        queue["name"],
        queue.get("running"),
        *(queue.get(field) for field in _LIMITS),
        "paused" if queue.get("paused") else None,
    ]


@app.command("show", cls=Command)
def show(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Show a queue with all that is said of it."""
    cli: Invocation = context.obj
    _show(cli, cli.client.send(calls.read(name)))


def _show(cli: Invocation, queue: JsonObject) -> None:
    cli.show(queue, lambda: cli.line(_sentence(queue)))


def _sentence(queue: JsonObject) -> str:
    said = [f"{field} {queue[field]:g}" for field in (*_LIMITS, *_SHOWN) if queue.get(field) is not None]
    state = "paused, " if queue.get("paused") else ""
    return f"queue {queue['name']}: {state}{queue['running']} running, {', '.join(said) or 'no limits'}"


@app.command("set", cls=Command)
def set_(
    context: typer.Context,
    name: Annotated[str, _NAME],
    max_in_flight: Annotated[str | None, _limit("Attempts that are on a node at a time")] = None,
    max_per_minute: Annotated[str | None, _limit("Starts within any 60 seconds")] = None,
    max_per_key: Annotated[str | None, _limit("Tasks of one --concurrency-key at a time")] = None,
    throttle_delay: Annotated[str | None, _limit("How long it rests after it was at a limit", "TIME")] = None,
    weight: Annotated[str | None, _limit("Its share of starts among all queues")] = None,
    ageing: Annotated[str | None, _limit("So long a wait is one more of priority", "TIME")] = None,
    max_payload_bytes: Annotated[
        str | None, _limit("A payload, or a task without one, with more bytes is refused")
    ] = None,
    max_submits_per_minute: Annotated[str | None, _limit("More submits are refused")] = None,
) -> None:
    """Declare the queue, or change the limits that are named; the others stay."""
    cli: Invocation = context.obj
    named = {
        "maxInFlight": _whole("--max-in-flight", max_in_flight),
        "maxPerMinute": _whole("--max-per-minute", max_per_minute),
        "maxPerKey": _whole("--max-per-key", max_per_key),
        "throttleDelaySeconds": _seconds("--throttle-delay", throttle_delay),
        "weight": _whole("--weight", weight),
        "ageingSeconds": _seconds("--ageing", ageing),
        "maxPayloadBytes": _whole("--max-payload-bytes", max_payload_bytes),
        "maxSubmitsPerMinute": _whole("--max-submits-per-minute", max_submits_per_minute),
    }
    limits = {field: given for field, given in _present(cli, name).items() if field != "paused"}
    for field, given in named.items():
        if given is not None:
            limits[field] = None if given == OFF else given
    _show(cli, cli.client.send(calls.save(name, limits)))


def _present(cli: Invocation, name: str) -> JsonObject:
    try:
        return cli.client.send(calls.read(name))
    except NotFound:
        return {}


def _whole(option: str, text: str | None) -> int | str | None:
    if text is None or text == OFF:
        return text
    if not text.isdecimal():
        raise InvalidInput(f"{option}: {text!r} is neither a whole number nor {OFF}")
    return int(text)


def _seconds(option: str, text: str | None) -> float | str | None:
    return text if text is None or text == OFF else parse_duration(text, option)


@app.command("pause", cls=Command)
def pause(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Start nothing of the queue any more; what runs goes on, and submits are taken."""
    cli: Invocation = context.obj
    _show(cli, cli.client.send(calls.pause(name)))


@app.command("resume", cls=Command)
def resume(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Let a paused queue go on."""
    cli: Invocation = context.obj
    _show(cli, cli.client.send(calls.resume(name)))


@app.command("remove", cls=Command)
def remove(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Remove a queue with its limits, when none of its tasks is left to run and no schedule names it."""
    cli: Invocation = context.obj
    answer = cli.client.send(calls.remove(name))
    cli.show(answer, lambda: cli.line(f"queue {name} is removed"))
