"""The program `podling`. `--version` is answered before anything that takes time is imported."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from podling import __version__

if TYPE_CHECKING:
    from podling.cli.invocation import Database


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in takewhile(lambda argument: argument.startswith("-") and argument != "--", given):
        sys.stdout.write(f"podling {__version__}\n")
        return 0
    from podling.cli import app
    from podling.cli.invocation import Programs

    programs = Programs(dev=_dev, database=_database, read_assignments=_read_assignments)
    return app.run(given, programs)


def _dev(arguments: Sequence[str]) -> int | None:
    program: Any = import_module("podling.boot.dev")
    result: int | None = program.main(list(arguments))
    return result


def _database() -> "Database":
    module: Any = import_module("podling.boot.database")
    database: Database = module
    return database


def _read_assignments(text: str) -> Mapping[str, str]:
    from podling.boot.assignments import read_assignments

    return read_assignments(text)


if __name__ == "__main__":
    sys.exit(main())
