"""`podling top`: queues, nodes and rates as they are now, again and again."""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from podling.cli import nodes as node_table
from podling.cli.invocation import Invocation
from podling.cli.status import headlines
from podling.cli.table import Screen, print_table
from podling.cli.text import parse_duration
from podling.client import cluster, nodes, queues
from podling.client.call import JsonObject
from podling.core.errors import InvalidInput, Unavailable

_QUEUE_COLUMNS = (
    "QUEUE",
    "DEPTH",
    "RUNNING",
    "LIMIT",
    "A SECOND",
    "OK",
    "FAILED",
    "RETRIED",
    "TIME",
    "STATE",
)
_LEAST_SECONDS = 0.2


def top(
    context: typer.Context,
    interval: Annotated[str, typer.Option(metavar="DURATION", help="How long to wait between looks.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    rows: Annotated[
        int, typer.Option("--rows", min=1, help="Show so many queues and nodes, busiest first.")
    ] = 20,
) -> None:
    """Show queues, nodes and rates, refreshed until interrupted.

    The rates of a queue are those of its last minute. With --json every look is one line; a master that goes
    away is asked again.
    """
    cli: Invocation = context.obj
    seconds = parse_duration(interval, "--interval")
    if seconds < _LEAST_SECONDS:
        raise InvalidInput(f"--interval: at least {_LEAST_SECONDS} seconds, or the masters do nothing else")
    if once:
        _once(cli, rows)
        return
    with suppress(KeyboardInterrupt):
        _follow(cli, seconds, rows)


def _once(cli: Invocation, rows: int) -> None:
    found = _look(cli)
    cli.show(found, lambda: _print(cli, _screen(found, rows)))


def _follow(cli: Invocation, seconds: float, rows: int) -> None:
    if cli.settings.json:
        _write_lines(cli, seconds)
    elif sys.stdout.isatty():
        from podling.cli.terminal import live

        with live() as draw:
            while True:
                draw(_try_to_look(cli, rows))
                time.sleep(seconds)
    else:
        while True:
            _print(cli, _try_to_look(cli, rows))
            cli.line()
            sys.stdout.flush()
            time.sleep(seconds)


def _write_lines(cli: Invocation, seconds: float) -> None:
    import json

    while True:
        try:
            sys.stdout.write(json.dumps(_look(cli)) + "\n")
            sys.stdout.flush()
        except Unavailable as error:
            cli.tell_error(error)
        time.sleep(seconds)


def _try_to_look(cli: Invocation, rows: int) -> Screen:
    try:
        return _screen(_look(cli), rows)
    except Unavailable as error:
        return Screen(lines=(f"{datetime.now(UTC):%H:%M:%S}  {error.message}",))


def _look(cli: Invocation) -> JsonObject:
    """Return what the API gives, queues with their limits and their last minute in one."""
    metrics = cli.client.send(cluster.metrics())
    limits = {queue["name"]: queue for queue in cli.client.list_all(queues.listing)}
    return {
        "at": metrics["at"],
        "cluster": cli.client.send(cluster.read()),
        "queues": [
            {"name": name, **limits.get(name, {}), **numbers} for name, numbers in metrics["queues"].items()
        ],
        "depthsAreWhole": metrics["depthsAreWhole"],
        "nodes": cli.client.list_all(nodes.listing),
        "pending": metrics["pending"],
        "windowSeconds": metrics["windowSeconds"],
    }


def _screen(found: JsonObject, rows: int) -> Screen:
    by_work = sorted(found["queues"], key=lambda queue: (-_work(queue), queue["name"]))
    by_need = sorted(found["nodes"], key=_need)
    now = datetime.now(UTC)
    tables = (
        (_QUEUE_COLUMNS, [_row(queue) for queue in by_work[:rows]]),
        (node_table.COLUMNS, [node_table.row(node, now) for node in by_need[:rows]]),
    )
    return Screen(
        lines=(*headlines(found["cluster"], found["nodes"]), _waiting(found["pending"]), _pace(found)),
        tables=tuple(table for table in tables if table[1]),
        below=tuple(
            f"and {len(found[kind]) - rows} more {kind}: --rows N shows more"
            for kind in ("queues", "nodes")
            if len(found[kind]) > rows
        ),
    )


def _work(queue: JsonObject) -> float:
    return float(queue["running"] + queue["depth"] + queue["tasksPerSecond"])


def _need(node: JsonObject) -> tuple[bool, int, str]:
    """Sort who takes no work first, then the busiest."""
    return node_table.state(node) == "online", -node.get("runningTasks", 0), str(node["nodeId"])


def _pace(found: JsonObject) -> str:
    parts = [queue for queue in found["queues"] if queue["name"] != "*"]
    pace = sum(queue["tasksPerSecond"] for queue in parts)
    ends = {name: sum(queue[name] for queue in parts) for name in ("succeeded", "failed", "retried")}
    told = ", ".join(f"{count} {name}" for name, count in ends.items())
    return f"Pace     {pace:g} tasks a second; {told} in {found['windowSeconds']:.0f} s"


def _waiting(pending: JsonObject) -> str:
    return f"Waiting  {', '.join(f'{count} {kind}' for kind, count in pending.items() if count) or 'none'}"


def _row(queue: JsonObject) -> list[object]:
    latency = queue["meanLatencySeconds"]
    return [
        queue["name"],
        queue["depth"],
        queue["running"],
        queue.get("maxInFlight"),
        f"{queue['tasksPerSecond']:g}",
        _percent(queue["successRate"]),
        queue["failed"],
        _percent(queue["retryRate"]),
        None if latency is None else _seconds(latency),
        "paused" if queue.get("paused") else None,
    ]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def _print(cli: Invocation, screen: Screen) -> None:
    for line in screen.lines:
        cli.line(line)
    for columns, rows in screen.tables:
        cli.line()
        print_table(columns, rows)
    for line in screen.below:
        cli.line(line)
