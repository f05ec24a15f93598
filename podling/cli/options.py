"""The global options, accepted before and after the command's name."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, get_args

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
    tls_ca: Annotated[
        str | None,
        _option("--tls-ca", metavar="FILE", help="Certificates of whom to trust, and nobody else, on https."),
    ] = None,
    tls_fingerprint: Annotated[
        str | None,
        _option("--tls-fingerprint", metavar="SHA256", help="The same, known by its fingerprint alone."),
    ] = None,
    config: Annotated[
        str | None, _option("--config", metavar="FILE", help="A file with lines of NAME = VALUE.")
    ] = None,
    json: Annotated[bool, _option("--json", help="Print what the API gave, for scripts.")] = False,
    verbose: Annotated[bool, _option("--verbose", "-v", help="Say more, also about errors.")] = False,
) -> None:
    pass


class Reader:
    """Turns an argument's text into the parameter's type: text, a whole number, a choice, a flag.

    typer would import pydantic for that, which takes longer than everything else a command does.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = (get_args(kind) or (kind,))[0]

    def itself(self) -> "Reader":
        """Stand for typer's own way of coming by one."""
        return self

    def coerce(self, given: Any, param: Any, ctx: Any) -> Any:
        if param.multiple or param.nargs == -1:
            return [self._read(item, param, ctx) for item in given or ()]
        return None if given is None else self._read(given, param, ctx)

    def _read(self, item: Any, param: Any, ctx: Any) -> Any:
        if self._kind in (str, bool):
            return item
        try:
            read = self._kind(item)
        except ValueError:
            raise typer.BadParameter(f"{item!r} is not {self._meant()}", ctx=ctx, param=param) from None
        if isinstance(read, int) and param.min is not None and read < param.min:
            raise typer.BadParameter(f"{read} is less than {param.min}", ctx=ctx, param=param)
        return read

    def _meant(self) -> str:
        return "a whole number" if self._kind is int else f"one of {', '.join(self._kind)}"


def _light(params: Sequence[Any]) -> list[Any]:
    for param in params:
        param.get_runtime_param = Reader(param.type_descriptor.annotation).itself
    return list(params)


@cache
def global_options() -> Sequence[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_declare)
    return get_command(app).params


class PassingCommand(TyperCommand):
    """A command that leaves every option to the program that it starts, --help too."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _light(super().get_params(ctx))


class Command(PassingCommand):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *global_options()]


class Group(TyperGroup):
    """A noun with verbs that takes the global options too."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *global_options()]

    def get_params(self, ctx: Any) -> list[Any]:
        return _light(super().get_params(ctx))
