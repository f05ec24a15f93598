"""`podling dev`: a master and a worker in one process."""

from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import PassingCommand


def dev(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS]", help="See podling dev --help.")
    ] = None,
) -> None:
    """Start a master and a worker here, on a database of their own."""
    cli: Invocation = context.obj
    raise typer.Exit(cli.programs.dev([*(arguments or ()), *context.args]) or 0)


_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
dev.command_settings = {"cls": PassingCommand, "context_settings": _PASS_ON}  # type: ignore[attr-defined]
