"""`podling demo`: data to look at on a running master, and its removal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer

from podling.cli import demo_data
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.client import dead_letters, nodes, queues, schedules, tasks
from podling.core.errors import Conflict, NotFound, PodlingError

_OPEN = ("pending", "scheduled", "running")
_WITHOUT_SHELL = (
    "no worker runs processes, so nothing runs in this demo: start one with --runtime process, or name an"
    " image with a shell (podling demo fill --image busybox:local), and give the command again"
)

app = typer.Typer(
    cls=Group,
    help="Fill a running master with data to look at, or take it away.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


@app.command("fill", cls=Command)
def fill(
    context: typer.Context,
    image: Annotated[
        str | None, typer.Option("-i", "--image", help="An image with /bin/sh, for tasks that run.")
    ] = None,
) -> None:
    """Make queues, paused schedules and tasks: waiting, retried, dead-lettered.

    Given again it makes what is missing, and nothing twice.
    """
    cli: Invocation = context.obj
    shell = _shell(cli, image)
    counts = {
        "queues": _make_queues(cli),
        "schedules": _make_schedules(cli),
        "tasks": _make_tasks(cli, shell),
    }
    cli.show(counts, lambda: _draw(cli, counts))
    if shell is None:
        cli.note(_WITHOUT_SHELL)


def _draw(cli: Invocation, counts: Mapping[str, int]) -> None:
    cli.line("made " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    cli.line("look at them: podling top, podling dlq list, podling explain demo-render-the-catalogue")
    cli.line("take them away: podling demo remove")


def _shell(cli: Invocation, image: str | None) -> dict[str, Any] | None:
    """Return what a task needs to run a script: the image, or a worker's process."""
    if image is not None:
        return {"image": image}
    found = cli.client.list_all(partial(nodes.listing, status="online"))
    has_processes = any("process" in node.get("runtimes", ()) for node in found)
    return {"runtime": "process"} if has_processes else None


def _make_queues(cli: Invocation) -> int:
    """Return how many are new."""
    made = 0
    for name, limits in demo_data.QUEUES.items():
        try:
            cli.client.send(queues.read(name))
        except NotFound:
            made += 1
        cli.client.send(queues.save(name, limits))
    cli.client.send(queues.pause(demo_data.PAUSED))
    return made


def _make_schedules(cli: Invocation) -> int:
    made = 0
    for schedule in demo_data.schedules():
        try:
            cli.client.send(schedules.create(schedule))
            made += 1
        except Conflict:
            continue  # it is there
    return made


def _make_tasks(cli: Invocation, shell: Mapping[str, Any] | None) -> int:
    there = _names_there(cli)
    made = 0
    for spec in demo_data.tasks(shell, datetime.now(UTC)):
        if spec["name"] in there:
            continue
        try:
            cli.client.submit(spec)
            made += 1
        except PodlingError as error:
            cli.note(f"{spec['name']} was not made: {error.message}")
    return made


def _names_there(cli: Invocation) -> set[str]:
    """Return the names of tasks that wait, run, have completed, or are dead letters."""
    letters = {
        letter["taskId"]
        for queue in demo_data.QUEUES
        for letter in cli.client.list_all(partial(dead_letters.listing, queue=queue))
    }
    found = cli.client.list_all(_listing((*_OPEN, "completed", "failed")))
    return {task["name"] for task in found if task["status"] != "failed" or task["taskId"] in letters}


def _listing(statuses: tuple[str, ...] = ()) -> Any:
    label = f"{demo_data.LABEL}={demo_data.MARK}"
    return partial(tasks.listing, statuses=statuses, labels=(label,))


@app.command("remove", cls=Command)
def remove(context: typer.Context) -> None:
    """Cancel the demo's tasks, dismiss its dead letters, remove its schedules, take limits off its queues."""
    cli: Invocation = context.obj
    counts = {
        "cancelled": _cancel(cli),
        "dismissed": sum(_dismiss(cli, queue) for queue in demo_data.QUEUES),
        "schedules": sum(_remove_schedule(cli, item["name"]) for item in demo_data.schedules()),
    }
    for name in demo_data.QUEUES:
        cli.client.send(queues.save(name, {}))
        cli.client.send(queues.resume(name))
    cli.show(counts, lambda: _draw_removal(cli, counts))


def _draw_removal(cli: Invocation, counts: Mapping[str, int]) -> None:
    cli.line(
        f"{counts['cancelled']} tasks cancelled, {counts['dismissed']} dead letters dismissed,"
        f" {counts['schedules']} schedules removed"
    )
    cli.line("ended tasks stay in the history as all do; the queues' names stay, without limits")


def _cancel(cli: Invocation) -> int:
    count = 0
    for task in cli.client.list_all(_listing(_OPEN)):
        try:
            cli.client.send(tasks.cancel(task["taskId"]))
            count += 1
        except (Conflict, NotFound):
            continue  # it has ended meanwhile
    return count


def _dismiss(cli: Invocation, queue: str) -> int:
    count, cursor = 0, None
    while True:
        answer = cli.client.send(dead_letters.dismiss(queue=queue, cursor=cursor))
        count += int(answer["dismissed"])
        cursor = answer.get("nextCursor")
        if not answer.get("more"):
            return count


def _remove_schedule(cli: Invocation, name: str) -> bool:
    try:
        cli.client.send(schedules.remove(name))
    except NotFound:
        return False
    return True
