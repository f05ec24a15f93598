"""`podling status`: the health of the cluster in a few lines."""

from datetime import UTC, datetime

import typer

from podling.cli.invocation import Invocation
from podling.cli.masters import state as state_of_master
from podling.cli.nodes import state
from podling.cli.text import age
from podling.client import cluster, nodes, tasks
from podling.client.call import JsonObject

STATES = ("pending", "scheduled", "running", "completed", "failed", "cancelled")


_MOST_PAGES = 10


def status(context: typer.Context) -> None:
    """Show masters, nodes and tasks in a few lines, and why the oldest pending task waits."""
    cli: Invocation = context.obj
    overview = cli.client.send(cluster.read())
    listed = cli.client.list_all(nodes.listing)
    oldest = _oldest_pending(cli)
    gathered = {"cluster": overview, "nodes": listed, "oldestPending": oldest}
    cli.show(gathered, lambda: _draw(cli, overview, listed, oldest))


def _oldest_pending(cli: Invocation) -> JsonObject | None:
    """Return the pending task that has waited longest, as far as pages are read, and why it waits."""
    oldest: JsonObject | None = None
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = cli.client.send(tasks.listing(statuses=("pending",), limit=500, cursor=cursor))
        oldest, cursor = next(reversed(page.items), oldest), page.next_cursor
        if cursor is None:
            break
    if oldest is None:
        return None
    explanation = cli.client.send(tasks.explain(oldest["taskId"]))
    return {"task": oldest, "explain": explanation, "complete": cursor is None}


def _draw(cli: Invocation, overview: JsonObject, listed: list[JsonObject], oldest: JsonObject | None) -> None:
    for line in headlines(overview, listed):
        cli.line(line)
    if oldest:
        task = oldest["task"]
        which = "Oldest   " if oldest["complete"] else "Old      "
        waited = age(task["createdAt"], datetime.now(UTC))
        cli.line(f"{which}{task['name']} ({task['taskId']}), pending for {waited}:")
        cli.line(f"         {oldest['explain']['summary']}")


def headlines(overview: JsonObject, listed: list[JsonObject]) -> list[str]:
    """Return a line each about masters, nodes and tasks."""
    return [
        f"Master   {_masters(overview)}",
        f"Nodes    {_counted([state(node) for node in listed])}",
        f"Tasks    {_tasks(overview.get('tasks') or {})}",
    ]


def _masters(overview: JsonObject) -> str:
    masters = overview.get("masters") or []
    leader = overview.get("leader")
    urls = [master.get("advertiseUrl") for master in masters if master.get("masterId") == leader]
    return (
        f"{overview.get('version', 'unknown')}, store {overview.get('store', 'unknown')}, "
        f"{_running(masters)}, leader {next(iter(urls), leader) or 'none'} (epoch {overview.get('epoch')})"
    )


def _running(masters: list[JsonObject]) -> str:
    silent = [state_of_master(master) for master in masters].count("silent")
    told = f"{len(masters) - silent} running"
    return f"{told}, {silent} silent" if silent else told


def _counted(states: list[str]) -> str:
    always = ("online", "offline")
    words = ("online", "cordoned", "draining", "drained", "unhealthy", "offline")
    told = [word for word in words if word in (*always, *states)]
    return ", ".join(f"{states.count(word)} {word}" for word in told)


def _tasks(counts: JsonObject) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in STATES if counts.get(name)) or "none"
