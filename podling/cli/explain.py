"""`podling explain`: why a task is where it is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from podling.cli.hosts import hosts, with_hosts
from podling.cli.invocation import Invocation
from podling.cli.text import described, parse_time, span
from podling.client import tasks
from podling.client.call import JsonObject


def explain(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="An id, the beginning of one, or a name.")],
) -> None:
    """Tell why a task is where it is, and what to do about it."""
    cli: Invocation = context.obj
    explanation = cli.client.send(tasks.explain(cli.task_id(task)))
    cli.show(explanation, lambda: _draw(cli, explanation))


def _draw(cli: Invocation, explanation: JsonObject) -> None:
    names = hosts(cli)
    cli.line(with_hosts(explanation["summary"], names))
    for reason in map(described, explanation.get("reasons") or ()):
        if reason.lower() not in explanation["summary"].lower():
            cli.line(f"  - {with_hosts(reason, names)}")
    _draw_nodes(cli, explanation.get("nodes") or [], names)
    if explanation.get("queuePosition") is not None:
        cli.line(f"Position in its queue: {explanation['queuePosition']}")
    if explanation.get("nextEventAt"):
        cli.line(f"Next: {_until(explanation['nextEventAt'])}")
    if explanation.get("advice"):
        cli.line(f"Advice: {with_hosts(explanation['advice'], names)}")


def _draw_nodes(cli: Invocation, nodes: list[JsonObject], names: Mapping[str, str]) -> None:
    if not nodes:
        return
    from podling.cli.table import print_table

    cli.line()
    rows = [
        (
            with_hosts(node["nodeId"], names),
            "yes" if node["fits"] else "no",
            "; ".join(map(described, node.get("lacks") or ())),
        )
        for node in nodes
    ]
    print_table(("NODE", "FITS", "LACKS"), rows)
    cli.line()


def _until(text: str) -> str:
    at = parse_time(text)
    assert at is not None, "only called with a time"
    left = (at - datetime.now(UTC)).total_seconds()
    return f"{text} (in {span(left)})" if left > 0 else f"{text} (due)"
