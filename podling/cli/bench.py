"""`podling bench`: put a load on a running master, and measure it."""

import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from podling.cli.exit_codes import FAILED, INTERRUPTED
from podling.cli.invocation import Invocation
from podling.cli.run import RunCommand
from podling.cli.specification import Wishes, read_spec, specification
from podling.cli.task_options import takes_task_options
from podling.cli.text import parse_duration
from podling.client import cluster
from podling.core.errors import InvalidInput

if TYPE_CHECKING:
    from podling.cli.bench_load import Order

NAME = "bench"
MOST_TASKS = 1_000_000
MOST_CONNECTIONS = 256
MOST_BATCH = 500


@takes_task_options
def bench(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] [--] [COMMAND]...",
            help="Without -i and --spec the first word is the image; the rest is what each task runs.",
        ),
    ] = None,
    tasks: Annotated[int, typer.Option("--tasks", "-n", min=1, help="How many of them.")] = 1000,
    connections: Annotated[int, typer.Option(min=1, help="So many requests side by side.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Tasks in each request.")] = 50,
    wait: Annotated[
        str, typer.Option(metavar="DURATION", help="How long all of it may take; the rest is cancelled.")
    ] = "10m",
    *,
    wishes: Wishes,
    spec: str | None = None,
) -> None:
    """Submit equal tasks, wait until they have ended, and print one line that begins with BENCH_RESULT.

    The flags for the task are those of podling run: podling bench --runtime process -- true. They wait in the
    queue `bench`, unless --queue says otherwise. Exit code 1 says that not all of them completed.
    """
    cli: Invocation = context.obj
    _check("--tasks", tasks, MOST_TASKS)
    _check("--connections", connections, MOST_CONNECTIONS)
    _check("--batch", batch, MOST_BATCH)
    from podling.cli.bench_load import Order

    order = Order(
        run=os.urandom(4).hex(),
        spec=_task(wishes, None if spec is None else read_spec(spec)),
        tasks=tasks,
        connections=connections,
        batch=batch,
        timeout_seconds=parse_duration(wait, "--wait"),
    )
    store = str(cli.client.send(cluster.read())["store"])
    figures = _measure(cli, order)
    _print(cli, store, figures)
    if figures["completed"] < tasks:
        raise typer.Exit(FAILED)


def _check(option: str, number: int, most: int) -> None:
    if number > most:
        raise InvalidInput(f"{option}: at most {most}")


def _task(wishes: Wishes, base: Mapping[str, object] | None) -> dict[str, object]:
    from podling.core.value import changed

    if not (wishes.words or wishes.image or wishes.handler or wishes.runtime or base):
        raise InvalidInput(
            "say what each task does: podling bench -i IMAGE -- true, --handler NAME, or "
            "--runtime process -- true, whatever a worker has"
        )
    named = changed(wishes, name=(base or {}).get("name") or NAME, queue=wishes.queue or NAME)
    return specification(named, base)


def _measure(cli: Invocation, order: "Order") -> dict[str, float]:
    import asyncio

    from podling.cli.bench_load import Load

    async def measure(is_cut_off: bool = False) -> dict[str, float]:
        async with cli.asynchronous_client() as client:
            load = Load(client, order, cli.note)
            if is_cut_off:
                await load.cancel()
                return {}
            return await load.run()

    try:
        return asyncio.run(measure())
    except KeyboardInterrupt:
        cli.note("interrupted: cancelling what has not ended")
        asyncio.run(measure(is_cut_off=True))
        raise typer.Exit(INTERRUPTED) from None


def _print(cli: Invocation, store: str, figures: dict[str, float]) -> None:
    from podling.kit.figures import result_line

    if cli.settings.json:
        told = {name: None if math.isnan(number) else number for name, number in figures.items()}
        cli.print_json({"scenario": NAME, "store": store} | told)
    else:
        sys.stdout.write(result_line(NAME, store, figures) + "\n")


bench.command_settings = {"cls": RunCommand}  # type: ignore[attr-defined]
