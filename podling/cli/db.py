"""`podling db`: the schema of a Postgres database."""

from typing import Annotated, Any

import typer

from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.core.errors import InvalidInput

app = typer.Typer(
    cls=Group,
    help="Set up, check and upgrade the database.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_URL = typer.Option("--database-url", metavar="URL", help="The database (DATABASE_URL).")


@app.command("install", cls=Command)
def install(context: typer.Context, database_url: Annotated[str | None, _URL] = None) -> None:
    """Make the schema."""
    cli: Invocation = context.obj
    _tell(cli, cli.programs.database().install(_url(cli, database_url)))


@app.command("verify", cls=Command)
def verify(context: typer.Context, database_url: Annotated[str | None, _URL] = None) -> None:
    """Check that the schema is what this version needs; change nothing."""
    cli: Invocation = context.obj
    _tell(cli, cli.programs.database().verify(_url(cli, database_url)))


@app.command("migrate", cls=Command)
def migrate(context: typer.Context, database_url: Annotated[str | None, _URL] = None) -> None:
    """Bring the schema up to this version."""
    cli: Invocation = context.obj
    _tell(cli, cli.programs.database().migrate(_url(cli, database_url)))


def _url(cli: Invocation, given: str | None) -> str:
    url = given or cli.environment.get("DATABASE_URL")
    if not url:
        raise InvalidInput("say which database: --database-url URL, or set DATABASE_URL")
    return url


def _tell(cli: Invocation, answer: Any) -> None:
    cli.show(answer, lambda: cli.line("done" if answer is None else answer))
