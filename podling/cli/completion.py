"""`podling completion`: a script that teaches a shell the commands."""

import sys
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
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="podling", complete_var="_PODLING_COMPLETE", shell=str(shell))
    sys.stdout.write(script + "\n")
