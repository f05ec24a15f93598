"""`podling masters`: who serves the cluster, and who leads it."""

import typer

from podling.cli.invocation import Invocation
from podling.cli.text import span
from podling.client import cluster
from podling.client.call import JsonObject

_COLUMNS = ("ID", "ADDRESS", "STATE", "EPOCH", "VERSION", "BEAT", "NODES")


def masters(context: typer.Context) -> None:
    """List the masters, with the leader's epoch, the age of their last beat and the nodes they hold."""
    cli: Invocation = context.obj
    listed = cli.client.send(cluster.read()).get("masters") or []
    cli.show(listed, lambda: _draw(listed))


def _draw(listed: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, [_row(master) for master in listed])


def _row(master: JsonObject) -> list[object]:
    beat = master.get("beatAgeSeconds")
    return [
        master["masterId"],
        master.get("advertiseUrl"),
        state(master),
        master.get("epoch"),
        master.get("version"),
        None if beat is None else span(beat),
        master.get("nodes"),
    ]


def state(master: JsonObject) -> str:
    """Return one word for what the master does; `silent` if its beats have stopped."""
    if master.get("alive") is False:
        return "silent"
    return "leads" if master.get("leader") else "follows"
