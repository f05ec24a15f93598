"""`podling cron`: tasks by the clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from podling.cli.flags import given_only, pairs
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.run import RunCommand
from podling.cli.specification import Wishes, read_spec, specification
from podling.cli.task_options import takes_task_options
from podling.cli.text import parse_duration, parse_time, span
from podling.client import schedules as calls
from podling.client.call import JsonObject
from podling.client.program import new_key
from podling.core.errors import InvalidInput

_COLUMNS = ("NAME", "CRON", "ZONE", "NEXT", "LAST", "RESULT")
_FIRES = ("FOR", "RESULT", "TASK", "ABOUT")

app = typer.Typer(
    cls=Group,
    help="Run tasks by the clock.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_NAME = typer.Argument(metavar="NAME", help="The schedule's name, or its id.")
_EXPRESSION = typer.Argument(
    metavar="CRON", help="Five fields in quotes ('0 3 * * *'), six with seconds, @daily, @every 30s."
)
_ZONE = typer.Option("--time-zone", metavar="ZONE", help="Whose clocks: Europe/Berlin. Without it UTC.")


@takes_task_options
def add(
    context: typer.Context,
    expression: Annotated[str, _EXPRESSION],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] [--] [COMMAND]...",
            help="Without -i and --spec the first word is the image; the rest is what it runs.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call it; without it like its image or program.")
    ] = None,
    time_zone: Annotated[str | None, _ZONE] = None,
    overlap: Annotated[
        str | None, typer.Option(help="While the last task still runs: allow, skip or replace it.")
    ] = None,
    catch_up: Annotated[
        str | None, typer.Option(help="Of what was missed while no master ran: none, last or all.")
    ] = None,
    max_catch_up: Annotated[int | None, typer.Option(help="With --catch-up all: the newest so many.")] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Put each start off by up to so much: 30, 5m.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, and let it wait for a resume.")] = False,
    *,
    wishes: Wishes,
    spec: str | None = None,
) -> None:
    """Make a schedule. The flags for its task are those of podling run."""
    cli: Invocation = context.obj
    try:
        task = _task(wishes, None if spec is None else read_spec(spec), name)
        delay = None if jitter is None else parse_duration(jitter, "--jitter")
    except InvalidInput as error:
        raise typer.BadParameter(error.message, ctx=context) from None
    body = given_only(
        {
            "name": name or task["name"],
            "cron": expression,
            "timeZone": time_zone,
            "overlap": overlap,
            "catchUp": catch_up,
            "maxCatchUp": max_catch_up,
            "jitterSeconds": delay,
            "paused": paused or None,
            "task": task,
        }
    )
    made = cli.client.send(calls.create(body))
    cli.show(made, lambda: cli.line(f"schedule {made['name']} fires {next_in_words(made)}"))


app.command("add", cls=RunCommand)(add)


def _task(wishes: Wishes, base: Mapping[str, Any] | None, name: str | None) -> JsonObject:
    from podling.core.value import changed

    told = name or (base or {}).get("name")
    if told is None:
        words, image = wishes.words or (), wishes.image or (base or {}).get("image")
        told = short_name(str(image or next(iter(words), "")))
    return specification(changed(wishes, name=told), base)


def short_name(text: str) -> str:
    """Return `backup` for `registry.test:5000/team/backup:1.2` and for `/usr/bin/backup`."""
    return text.rpartition("/")[2].partition("@")[0].partition(":")[0]


def next_in_words(schedule: JsonObject) -> str:
    """Return when it fires next, from now and on its own clocks."""
    if schedule.get("paused"):
        return "when it is resumed"
    at = parse_time(next(iter(schedule.get("nextFires") or ()), None))
    return "never again" if at is None else in_words(at, schedule["timeZone"])


def in_words(at: datetime, zone: str) -> str:
    from podling.core.cron import zone_of

    local = at.astimezone(zone_of(zone))
    return f"in {span((at - datetime.now(UTC)).total_seconds())} ({local:%a %d %b %Y %H:%M:%S} {zone})"


@app.command("list", cls=Command)
def list_(context: typer.Context) -> None:
    """List schedules: when each fires next, and what came of it last."""
    cli: Invocation = context.obj
    listed = collect(cli, calls.listing, None).items
    cli.show(listed, lambda: _draw(listed))


def _draw(listed: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_COLUMNS, [_row(schedule) for schedule in listed])


def _row(schedule: JsonObject) -> list[object]:
    last = schedule.get("lastFire") or {}
    coming = next_in_words(schedule).partition(" (")[0]
    return [
        schedule["name"],
        schedule["cron"],
        schedule["timeZone"],
        "paused" if schedule.get("paused") else coming,
        last.get("fireTime"),
        last.get("outcome"),
    ]


@app.command("show", cls=Command)
def show(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Show a schedule, its next fires and the last ones, and why one was not started."""
    cli: Invocation = context.obj
    schedule = cli.client.send(calls.read(name))
    fires = collect(cli, lambda **page: calls.fires(name, **page), 5).items
    cli.show({**schedule, "fires": fires}, lambda: _tell(cli, schedule, fires))


def _tell(cli: Invocation, schedule: JsonObject, fires: list[JsonObject]) -> None:
    task = schedule["task"]
    program = [task.get("image"), *(task.get("command") or ()), *(task.get("args") or ())]
    cli.line(f"{schedule['name']} fires {next_in_words(schedule)}")
    cli.line(f"cron      {schedule['cron']}  {schedule['timeZone']}")
    cli.line(f"runs      {' '.join(str(word) for word in program if word)}")
    limit = f", at most {schedule['maxCatchUp']}" if schedule["catchUp"] == "all" else ""
    cli.line(f"overlap   {schedule['overlap']}; catch-up {schedule['catchUp']}{limit}")
    if schedule["jitterSeconds"]:
        cli.line(f"jitter    up to {span(schedule['jitterSeconds'])}")
    cli.line(f"owner     {schedule['owner']}")
    for at in schedule["nextFires"]:
        cli.line(f"next      {in_words(datetime.fromisoformat(at), schedule['timeZone'])}")
    if fires:
        cli.line()
        _draw_fires(fires)


@app.command("fires", cls=Command)
def fires(
    context: typer.Context,
    name: Annotated[str, _NAME],
    outcome: Annotated[
        str | None, typer.Option(help="Only those: started, skipped, missed or denied.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many at most.", min=1)] = 20,
) -> None:
    """List what became of its fire times, the newest first."""
    cli: Invocation = context.obj
    found = collect(cli, lambda **page: calls.fires(name, outcome=outcome, **page), limit).items
    cli.show(found, lambda: _draw_fires(found))


def _draw_fires(found: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    print_table(_FIRES, [_fire_row(fire) for fire in found])


def _fire_row(fire: JsonObject) -> list[object]:
    about = fire.get("message") or ("run by hand" if fire.get("manual") else None)
    number = f" ({fire['count']})" if fire.get("count", 1) > 1 else ""
    return [fire["fireTime"], f"{fire['outcome']}{number}", fire.get("taskId"), about]


@app.command("pause", cls=Command)
def pause(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Let it fire no more, until it is resumed."""
    cli: Invocation = context.obj
    paused = cli.client.send(calls.pause(name))
    cli.show(paused, lambda: cli.line(f"schedule {paused['name']} is paused"))


@app.command("resume", cls=Command)
def resume(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Let it fire again; what would have fired meanwhile is not made up for."""
    cli: Invocation = context.obj
    resumed = cli.client.send(calls.resume(name))
    cli.show(resumed, lambda: cli.line(f"schedule {resumed['name']} fires {next_in_words(resumed)}"))


@app.command("run", cls=Command)
def run(
    context: typer.Context,
    name: Annotated[str, _NAME],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARG...]", help="In place of the task's arguments.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", metavar="K=V", help="One more variable. Repeatable.")
    ] = None,
    spec: Annotated[
        str | None, typer.Option(metavar="FILE", help="A JSON object of fields that take the task's place.")
    ] = None,
) -> None:
    """Start its task now, perhaps with other fields."""
    cli: Invocation = context.obj
    overrides = (read_spec(spec) if spec else {}) | given_only({"env": pairs("-e", env), "args": arguments})
    task = cli.client.send(calls.run(name, overrides, new_key()))
    cli.show(task, lambda: cli.line(task["taskId"]))


@app.command("remove", cls=Command)
def remove(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Remove a schedule; its tasks go on."""
    cli: Invocation = context.obj
    answer = cli.client.send(calls.remove(name))
    cli.show(answer, lambda: cli.line(f"schedule {name} is removed"))


@app.command("next", cls=Command)
def next_(
    context: typer.Context,
    expression: Annotated[str, _EXPRESSION],
    time_zone: Annotated[str, _ZONE] = "UTC",
    count: Annotated[int, typer.Option("-n", "--count", help="How many.", min=1)] = 5,
) -> None:
    """Show when an expression fires; no master is asked."""
    from podling.core.cron import Cron

    cli: Invocation = context.obj
    now = datetime.now(UTC)
    times = Cron(expression, time_zone, now=now).next(now, min(count, 1000))
    plain = [at.isoformat().replace("+00:00", "Z") for at in times]
    cli.show(plain, lambda: _tell_times(cli, times, time_zone))


def _tell_times(cli: Invocation, times: list[datetime], zone: str) -> None:
    for at in times:
        cli.line(in_words(at, zone))


@app.command("import", cls=Command)
def import_(
    context: typer.Context,
    crontab: Annotated[
        str,
        typer.Argument(
            metavar="CRONTAB", help="A crontab, or what podling cron list --json gave; - reads it."
        ),
    ],
    image: Annotated[
        str | None, typer.Option("-i", "--image", help="Run the commands in this image, not as processes.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Without it, this machine's.")
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="There is a user before each command, as in /etc/crontab.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")
    ] = False,
) -> None:
    """Make schedules of a crontab, or of another cluster's, and say of each line what became of it."""
    from podling.cli.cron_import import Import

    cli: Invocation = context.obj
    Import(cli, image=image, time_zone=time_zone, dry_run=dry_run).run(crontab, system)
