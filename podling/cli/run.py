"""`podling run`: submit a task, and with --wait stay until it has ended."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from podling.cli.exit_codes import FAILED, INTERRUPTED
from podling.cli.follow import Follower
from podling.cli.invocation import Invocation
from podling.cli.options import Command
from podling.cli.specification import Wishes, read_spec, specification
from podling.client import tasks
from podling.client.call import JsonObject
from podling.client.program import has_ended
from podling.core.errors import Conflict, InvalidInput

CANCEL_SECONDS = 60.0
_TELLING = ("--handler", "--statement")


class RunCommand(Command):
    """Hands everything from the task's command on to the task, without a `--` in between too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, before_command(args, self.params))


def _places(arguments: Sequence[str], parameters: Sequence[Any]) -> tuple[list[int], set[str]]:
    """Return where the words before a `--` stand, and the names of the options there."""
    takes_value = {name: not option.is_flag for option in parameters for name in _flags(option)}
    places, told, index = [], set(), 0
    while index < len(arguments) and arguments[index] != "--":
        argument = arguments[index]
        if argument.startswith("-") and argument != "-":
            name, attached = _split(argument)
            told.add(name)
            index += 1 if attached or not takes_value.get(name) else 2
            continue
        places.append(index)
        index += 1
    return places, told


def before_command(arguments: Sequence[str], parameters: Sequence[Any]) -> list[str]:
    """Return the arguments with a `--` put before the first word of the task's command.

    That is the second word beside the options if -i, --spec, --handler or --statement names what runs, else
    the third. Who wrote the `--` without a name or an image before it is asked which is which. Raises
    InvalidInput.
    """
    places, told = _places(arguments, parameters)
    first = 1 if told & {"-i", "--image", "--spec", *_TELLING} else 2
    if len(places) > first:
        return [*arguments[: places[first]], "--", *arguments[places[first] :]]
    if "--" in arguments and len(places) < first and not told & {"--spec", "--runtime", *_TELLING}:
        raise InvalidInput(
            "name and image stand before the --: write podling run NAME -i IMAGE -- COMMAND, or "
            "podling run NAME IMAGE -- COMMAND"
        )
    return list(arguments)


def _flags(parameter: Any) -> Sequence[str]:
    return parameter.opts if parameter.param_type_name == "option" else ()


def _split(argument: str) -> tuple[str, bool]:
    """Return the option's name, and whether its value is part of the same argument."""
    if argument.startswith("--"):
        name, equals, _ = argument.partition("=")
        return name, bool(equals)
    return argument[:2], len(argument) > 2


def run(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What to call the task; --spec may tell it.")
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] [--] [COMMAND]...",
            help="Without -i and --spec the word after NAME is the image; the rest is what it runs.",
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A JSON object as for POST /tasks (- reads it); flags override it."
        ),
    ] = None,
    image: Annotated[str | None, typer.Option("-i", "--image", help="The container's image.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", metavar="K=V", help="A variable. Repeatable.")
    ] = None,
    port: Annotated[
        list[str] | None,
        typer.Option("-p", "--port", metavar="HOST:CONTAINER[/udp]", help="A published port. Repeatable."),
    ] = None,
    cpu: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="CPU to reserve: 500m. Also a container's limit.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT", help="Memory to reserve: 256Mi. Also a container's limit."),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COUNT", help="Another resource to reserve, such as gpu=1. Repeatable."),
    ] = None,
    gpus: Annotated[int | None, typer.Option(metavar="N", help="GPUs that it alone has.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label. Repeatable.")] = None,
    queue: Annotated[str | None, typer.Option(help="The queue to wait in.")] = None,
    concurrency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="No other task with this key runs beside it.")
    ] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK[:WHEN]",
            help="Start when this task has ended: success (the default), failure or always. Repeatable.",
        ),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher starts earlier.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often to try it in all.")] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="The longest an attempt may take: 90, 10m.")
    ] = None,
    queue_timeout: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="The longest it may wait to be placed: 90, 10m.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="The longest all of it may take: 90, 10m.")
    ] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: 10m (from now), or a time.")
    ] = None,
    retry_base: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="The wait after the first failure; it doubles.")
    ] = None,
    retry_on: Annotated[
        str | None, typer.Option(metavar="CODES", help="Retry only these: exit:75,TIMEOUT.")
    ] = None,
    retry_not_on: Annotated[
        str | None, typer.Option(metavar="CODES", help="Never retry these: exit:2,OOM.")
    ] = None,
    delivery: Annotated[str | None, typer.Option(help="at-least-once or at-most-once.")] = None,
    on_lost: Annotated[str | None, typer.Option(help="When its node is lost: retry, fail or hold.")] = None,
    on_disconnect: Annotated[
        str | None, typer.Option(help="When its worker loses the master: stop or keep.")
    ] = None,
    max_losses: Annotated[int | None, typer.Option(help="How many lost nodes it outlives.")] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:TARGET[:ro]", help="A volume, or a host's path. Repeatable."),
    ] = None,
    tmpfs: Annotated[
        list[str] | None, typer.Option(metavar="PATH[:OPTIONS]", help="Memory as a folder. Repeatable.")
    ] = None,
    workdir: Annotated[str | None, typer.Option(metavar="PATH", help="Where the command starts.")] = None,
    user: Annotated[str | None, typer.Option(help="Who runs the command: a name or uid[:gid].")] = None,
    entrypoint: Annotated[
        str | None, typer.Option(metavar="WORD", help="Replaces the image's entrypoint.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="none, bridge or the name of a network.")] = None,
    runtime: Annotated[str | None, typer.Option(help="docker (the default), process, python or sql.")] = None,
    handler: Annotated[
        str | None, typer.Option(metavar="JOB_TYPE", help="Run this function of a worker (runtime python).")
    ] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="What the function is given.")] = None,
    statement: Annotated[
        str | None, typer.Option(metavar="SQL", help="Run this in a worker's database (runtime sql).")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="What stands for $1, $2, …: JSON, or else text. Repeatable."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="NAME", help="The worker's name for where, and as whom.")
    ] = None,
    node_selector: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A label that the node must have. Repeatable.")
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="K=A,B or K!=A,B or K (exists) or !K (does not). Repeatable."),
    ] = None,
    affinity: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE[:WEIGHT]", help="A wish, as LABEL=VALUE:50 (-100 to 100). Repeatable."),
    ] = None,
    spread: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Spread tasks like it over this label's values.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="Among nodes that fit: spread or binpack.")] = None,
    pull: Annotated[str | None, typer.Option(help="always, missing or never.")] = None,
    platform: Annotated[
        str | None, typer.Option(metavar="OS/ARCH", help="What the image is for: linux/arm64.")
    ] = None,
    restart: Annotated[
        str | None, typer.Option(help="Inside one attempt: always, on-failure or never.")
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Run an init process in the container.")] = False,
    stop_signal: Annotated[str | None, typer.Option(metavar="SIGNAL", help="What stops it.")] = None,
    stop_grace: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="How long it may take to stop before it is killed.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Nothing can be written but to volumes and tmpfs.")
    ] = False,
    privileged: Annotated[
        bool, typer.Option("--privileged", help="As root on the node; the operator has to allow it.")
    ] = False,
    cap_add: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A privilege more: NET_ADMIN, ALL. Repeatable."),
    ] = None,
    cap_drop: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A privilege less. Repeatable."),
    ] = None,
    security_opt: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="no-new-privileges, apparmor=NAME. Repeatable."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH[:INSIDE[:rwm]]", help="A device of the node. Repeatable."),
    ] = None,
    ulimit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SOFT[:HARD]", help="A limit of each process: nofile=1024. Repeatable."),
    ] = None,
    shm_size: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="The size of /dev/shm: 64Mi.")
    ] = None,
    hostname: Annotated[str | None, typer.Option(help="The container's own name.")] = None,
    add_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:ADDRESS", help="A line of /etc/hosts. Repeatable."),
    ] = None,
    dns: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="A name server. Repeatable."),
    ] = None,
    dns_search: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="Where short names are looked for. Repeatable."),
    ] = None,
    dns_option: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="An option of resolv.conf: ndots:2. Repeatable."),
    ] = None,
    log_max_size: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="One file of output at the engine: 64Mi.")
    ] = None,
    log_max_files: Annotated[int | None, typer.Option(help="How many such files it keeps.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key never makes a second task.")
    ] = None,
    alert: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHOM",
            help="Tell when it fails: a rule of podling alert, mailto:ADDRESS or https://… Repeatable.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", "--follow", "-f", help="Show its output, end with its exit code; Ctrl-C cancels it."
        ),
    ] = False,
) -> None:
    """Submit a task."""
    cli: Invocation = context.obj
    given = {key: item for key, item in locals().items() if key in Wishes.__annotations__}
    try:
        body = specification(Wishes(**given), None if spec is None else read_spec(spec))
    except InvalidInput as error:
        raise typer.BadParameter(error.message, ctx=context) from None
    for parent in body.get("dependsOn", ()) if after else ():
        parent["taskId"] = cli.find(parent["taskId"])["taskId"]
    if wait:
        raise typer.Exit(_stay(cli, body))
    _announce(cli, cli.client.submit(body))


run.command_settings = {"cls": RunCommand}  # type: ignore[attr-defined]


def _announce(cli: Invocation, task: JsonObject) -> None:
    cli.show(task, lambda: cli.line(task["taskId"]))
    if task.get("schedulingError"):
        cli.note(f"it waits: {task['schedulingError']}")


def _stay(cli: Invocation, spec: Mapping[str, Any]) -> int:
    """Submit the task and follow it to its end; return the exit code to end with."""
    task: JsonObject | None = None
    try:
        task = cli.client.submit(spec)
        ended = _until_end(cli, task)
    except KeyboardInterrupt:
        return _cancel(cli, task)
    if cli.settings.json:
        cli.print_json(ended)
    return outcome(cli, ended)


def _until_end(cli: Invocation, task: JsonObject) -> JsonObject:
    cli.detail(f"task {task['taskId']} was submitted")
    if cli.settings.json:
        return cli.client.wait(task["taskId"], None)
    return Follower(cli).until_end(task)


def _cancel(cli: Invocation, task: JsonObject | None) -> int:
    if task is None:
        cli.note("interrupted before a master answered; podling ps tells whether the task is there")
        return INTERRUPTED
    task_id = task["taskId"]
    try:
        cli.note(f"interrupted: cancelling task {task_id} (Ctrl-C again to leave it to the master)")
        cli.client.send(tasks.cancel(task_id).patient(10))
        ended: JsonObject = cli.client.wait(task_id, CANCEL_SECONDS)
    except Conflict:
        ended = cli.client.send(tasks.read(task_id))
    except KeyboardInterrupt:
        cli.note(f"left; podling wait {task_id} tells its end")
        return INTERRUPTED
    return outcome(cli, ended)


def outcome(cli: Invocation, task: JsonObject) -> int:
    """Say how an ended task ended unless well; return the exit code for it."""
    assert has_ended(task), "only an ended task has an outcome"
    if task["status"] == "completed":
        return int(task.get("exitCode") or 0)
    if task["status"] == "cancelled":
        cli.note(f"task {task['taskId']} was cancelled")
        return INTERRUPTED
    reason = task.get("error") or task.get("errorCode") or "no reason was given"
    cli.note(f"task {task['taskId']} failed: {reason}")
    return int(task.get("exitCode") or FAILED)
