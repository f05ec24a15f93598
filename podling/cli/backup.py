"""`podling backup` and `podling restore`: the whole database in one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from podling.cli.invocation import Invocation
from podling.cli.text import megabytes
from podling.client.call import JsonObject

_URL = typer.Option("--database-url", metavar="URL", help="The database (DATABASE_URL).")


def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there already.")] = False,
    database_url: Annotated[str | None, _URL] = None,
) -> None:
    """Write all that a Postgres database holds of Podling into one file; masters may go on."""
    cli: Invocation = context.obj
    report = cli.programs.database().backup(cli.database_url(database_url), Path(file), force)
    cli.show(report, lambda: cli.line(f"{file}: {_content(report)}, {megabytes(report['bytes'])}"))


def restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `podling backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose what the database holds of Podling now.")
    ] = False,
    database_url: Annotated[str | None, _URL] = None,
) -> None:
    """Load a backup into an empty Postgres database: all of it, or nothing."""
    cli: Invocation = context.obj
    report = cli.programs.database().restore(cli.database_url(database_url), Path(file), replace)
    cli.show(report, lambda: _draw(cli, report))


def _draw(cli: Invocation, report: JsonObject) -> None:
    cli.line(f"Restored {_content(report)}.")
    if report["live_attempts"]:
        cli.line(
            f"{report['live_attempts']} attempts were live then: their workers tell what became of them "
            "when a master runs on this database."
        )


def _content(report: JsonObject) -> str:
    rows = report["rows"]
    tasks = f"{rows.get('live_tasks', 0)} tasks that have not ended, {rows.get('ended_tasks', 0)} that have"
    return f"{tasks}, as of {report['made_at']}, schema {report['schema_version']}"
