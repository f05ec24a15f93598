"""The table of commands, and the one place where errors become a sentence and an exit code."""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from podling import __version__
from podling.cli.exit_codes import FAILED, READER_GONE, exit_code_of
from podling.cli.invocation import Invocation, Programs
from podling.cli.options import Command, Group
from podling.core.errors import PodlingError

# The name, its module and function (or its group of verbs), in the order of the help.
COMMANDS = {
    "run": "run:run",
    "ps": "ps:ps",
    "logs": "logs:logs",
    "explain": "explain:explain",
    "why": "explain:explain",
    "timeline": "timeline:timeline",
    "events": "events:events",
    "wait": "wait:wait",
    "cancel": "control:cancel",
    "retry": "control:retry",
    "replay": "control:replay",
    "resolve": "control:resolve",
    "dlq": "dlq:app",
    "nodes": "nodes:nodes",
    "node": "node:app",
    "workflow": "workflow:app",
    "cron": "cron:app",
    "alert": "alert:app",
    "lock": "lock:app",
    "breaker": "breaker:app",
    "cache": "cache:app",
    "idempotency": "idempotency:app",
    "checkpoint": "checkpoint:app",
    "queue": "queue:app",
    "masters": "masters:masters",
    "status": "status:status",
    "top": "top:top",
    "doctor": "doctor:doctor",
    "token": "token:app",
    "audit": "audit:audit",
    "decisions": "decisions:decisions",
    "policy": "policy:app",
    "dev": "dev:dev",
    "bench": "bench:bench",
    "demo": "demo:app",
    "db": "db:app",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "export": "transfer:export",
    "import": "transfer:import_",
    "completion": "completion:completion",
}
_HIDDEN = frozenset({"why"})

COMPLETE_VARIABLE = "_PODLING_COMPLETE"  # set by the script that `podling completion` prints


class CommandTable(Group):
    """Imports a command when it is named."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if name not in _HIDDEN]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(_closed_pipe()) from None


def load(name: str) -> Any:
    """Return the command of this name."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(f"podling.cli.{module_name}"), attribute)
    if isinstance(found, typer.Typer):
        command = get_command(found)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        settings = {"cls": Command} | getattr(found, "command_settings", {})
        app.command(name, **settings)(found)
        command = get_command(app)
    command.name = name
    return command


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"podling {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run containers from one durable queue, and see why each is where it is."""


def build() -> Any:
    """Return the whole command."""
    app = typer.Typer(
        cls=CommandTable,
        rich_markup_mode=None,
        no_args_is_help=True,
        add_completion=COMPLETE_VARIABLE in os.environ,
    )
    app.callback()(_root)
    return get_command(app)


def run(arguments: Sequence[str], programs: Programs) -> int:
    """Run the command; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    invocation = Invocation(programs)
    try:
        build().main(args=list(arguments), prog_name="podling", obj=invocation)
    except SystemExit as end:
        return _flushed(end.code)
    except PodlingError as error:
        return report(invocation, error)
    except Exception as error:  # noqa: BLE001  the last place where a bug can become a sentence
        return _report_bug(invocation, error)
    return 0


def report(invocation: Invocation, error: PodlingError) -> int:
    """Print the error; return the exit code for it."""
    invocation.tell_error(error)
    if invocation.wants("verbose") and not invocation.wants("json"):
        details = "".join(f", {name} {item}" for name, item in error.details.items())
        invocation.note(f"podling: code {error.code}{details}")
    return exit_code_of(error)


def _report_bug(invocation: Invocation, error: Exception) -> int:
    verbose = invocation.wants("verbose")
    more = "" if verbose else "; the same command with --verbose shows where"
    sentence = f"this is a bug in podling ({type(error).__name__}: {error}){more}"
    invocation.tell_error(PodlingError(sentence, code="internal"))
    if verbose:
        import traceback

        traceback.print_exception(error)
    return FAILED


def _flushed(code: Any) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    return code if isinstance(code, int) else 0


def _closed_pipe() -> int:
    """The reader has gone, as in `podling ps | head`: end quietly, as a signal would."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return READER_GONE
