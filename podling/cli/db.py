"""`podling db`: the schema of a Postgres database."""

from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group, PassingCommand
from podling.client.call import JsonObject
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
def install(
    context: typer.Context,
    database_url: Annotated[str | None, _URL] = None,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Check it and change nothing, as db verify does.")
    ] = False,
    broker_names: Annotated[
        bool, typer.Option("--broker-names", help="With the SQL functions of pgsql-broker's names besides.")
    ] = False,
    script: Annotated[
        bool, typer.Option("--script", help="Print what psql -f would have to run, and connect to nothing.")
    ] = False,
) -> None:
    """Make the schema."""
    cli: Invocation = context.obj
    database = cli.programs.database()
    if verify_only and (broker_names or script):
        raise InvalidInput("--verify-only changes nothing: it does not go with the other options")
    if script:
        cli.text(database.script(broker_names))
    elif verify_only:
        _tell(cli, database.verify(cli.database_url(database_url)))
    else:
        _tell(cli, database.install(cli.database_url(database_url), broker_names))


@app.command("verify", cls=Command)
def verify(context: typer.Context, database_url: Annotated[str | None, _URL] = None) -> None:
    """Check that the schema is what this version needs; change nothing."""
    cli: Invocation = context.obj
    _tell(cli, cli.programs.database().verify(cli.database_url(database_url)))


@app.command("migrate", cls=Command)
def migrate(context: typer.Context, database_url: Annotated[str | None, _URL] = None) -> None:
    """Bring the schema up to this version."""
    cli: Invocation = context.obj
    _tell(cli, cli.programs.database().migrate(cli.database_url(database_url)))


@app.command(
    "psql",
    cls=PassingCommand,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def psql(
    context: typer.Context,
    database_url: Annotated[str | None, _URL] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS]", help="See podling db psql --help.")
    ] = None,
) -> None:
    """Start psql on the database, embedded:DIR too."""
    cli: Invocation = context.obj
    given = [*(arguments or ()), *context.args]
    raise typer.Exit(cli.programs.database().psql(cli.database_url(database_url), given))


def _tell(cli: Invocation, report: JsonObject) -> None:
    """Print the schema's report. Ends with 1 if something has to be done."""
    cli.show(report, lambda: _draw(cli, report))
    if report["pending"] or report["problems"]:
        raise typer.Exit(FAILED)


def _draw(cli: Invocation, report: JsonObject) -> None:
    cli.line(
        f"PostgreSQL {report['server_version']}, database {report['database']}, "
        f"schema {report['schema'] or '(none)'}, version {report['version']}: "
        f"{len(report['applied'])} migrations applied"
    )
    for name in report["pending"]:
        cli.line(f"  missing: {name}; run podling db migrate")
    for problem in report["problems"]:
        cli.line(f"  problem: {problem}")
    if not report["pending"] and not report["problems"]:
        cli.line("Everything is as this version needs it.")
