"""`podling status`: the health of the cluster in a few lines."""

from datetime import UTC, datetime

import typer

from podling.cli.invocation import Invocation
from podling.cli.nodes import state
from podling.cli.text import age
from podling.client import cluster, nodes, tasks
from podling.client.call import JsonObject

STATES = ("pending", "scheduled", "running", "completed", "failed", "cancelled")


def status(context: typer.Context) -> None:
    """Show masters, nodes and tasks in a few lines, and why the oldest pending task waits."""
    cli: Invocation = context.obj
    overview = cli.client.send(cluster.read())
    listed = cli.client.send(nodes.listing())
    oldest = _oldest_pending(cli, overview)
    gathered = {"cluster": overview, "nodes": listed, "oldestPending": oldest}
    cli.show(gathered, lambda: _draw(cli, overview, listed, oldest))


def _oldest_pending(cli: Invocation, overview: JsonObject) -> JsonObject | None:
    """Return what explains the pending task that has waited longest."""
    pending = cli.client.send(tasks.listing(statuses=("pending",), limit=500))
    if not pending.items:
        return None
    oldest = pending.items[-1]
    explanation = cli.client.send(tasks.explain(oldest["taskId"]))
    return {"task": oldest, "explain": explanation}


def _draw(cli: Invocation, overview: JsonObject, listed: list[JsonObject], oldest: JsonObject | None) -> None:
    masters = overview.get("masters") or []
    cli.line(
        f"Master   {overview.get('version', 'unknown')}, store {overview.get('store', 'unknown')}, "
        f"{len(masters)} running, leader {overview.get('leader') or 'none'} (epoch {overview.get('epoch')})"
    )
    cli.line(f"Nodes    {_counted(map(state, listed), ('online', 'cordoned', 'unhealthy', 'offline'))}")
    cli.line(f"Tasks    {_tasks(overview.get('tasks') or {})}")
    if oldest:
        waits = age(oldest["task"]["createdAt"], datetime.now(UTC))
        cli.line(
            f"Oldest   {oldest['task']['name']} ({oldest['task']['taskId']}) pending for {waits}: "
            f"{oldest['explain']['summary']}"
        )


def _counted(words: object, order: tuple[str, ...]) -> str:
    found = list(words)  # type: ignore[call-overload]
    told = [f"{found.count(word)} {word}" for word in order if word in found or word in ("online", "offline")]
    return ", ".join(told)


def _tasks(counts: JsonObject) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in STATES if name in counts) or "none"
