"""The global options, accepted before and after the command's name."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


def _keep(context: typer.Context, parameter: typer.CallbackParam, given: Any) -> None:
    if given and not context.resilient_parsing:
        context.find_root().obj.given[parameter.name] = given


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, callback=_keep, expose_value=False, show_default=False, **more)


def _declare(
    master: Annotated[
        str | None,
        _option(
            "--master",
            metavar="URL",
            help="Where the master is (PODLING_MASTER_URL, else http://127.0.0.1:8070).",
        ),
    ] = None,
    token_file: Annotated[
        str | None, _option("--token-file", metavar="FILE", help="A file that holds the token to send.")
    ] = None,
    config: Annotated[
        str | None, _option("--config", metavar="FILE", help="A file with lines of NAME = VALUE.")
    ] = None,
    json: Annotated[bool, _option("--json", help="Print what the API gave, for scripts.")] = False,
    verbose: Annotated[bool, _option("--verbose", "-v", help="Say more, also about errors.")] = False,
) -> None:
    pass


@cache
def global_options() -> Sequence[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_declare)
    return get_command(app).params


class Command(TyperCommand):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *global_options()]


class Group(TyperGroup):
    """A noun with verbs that takes the global options too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *global_options()]
