"""`podling completion`: a script that teaches a shell the commands."""

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Which shell.")] = Shell.BASH,
) -> None:
    """Print completions: source <(podling completion bash)"""
    from typer.completion import show_callback

    show_callback(context, context.command.params[0], str(shell))
