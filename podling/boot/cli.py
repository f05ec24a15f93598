"""The program `podling`. `--version` is answered before anything that takes time is imported."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any

from podling import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in takewhile(lambda argument: argument.startswith("-") and argument != "--", given):
        sys.stdout.write(f"podling {__version__}\n")
        return 0
    from podling.cli import app
    from podling.cli.invocation import Programs

    programs = Programs(dev=_dev, database=_Schema, read_assignments=_read_assignments)
    return app.run(given, programs)


def _dev(arguments: Sequence[str]) -> int | None:
    program: Any = import_module("podling.boot.dev")
    result: int | None = program.main(list(arguments))
    return result


class _Schema:
    """The schema of the database at an address, for `podling db`."""

    def install(self, url: str) -> dict[str, Any]:
        return self._run(url, "install")

    def verify(self, url: str) -> dict[str, Any]:
        return self._run(url, "verify")

    def migrate(self, url: str) -> dict[str, Any]:
        self._run(url, "migrate")
        return self._run(url, "verify")

    def _run(self, url: str, what: str) -> dict[str, Any]:
        import asyncio
        from dataclasses import asdict, is_dataclass

        answer = asyncio.run(self._on_database(url, what))
        return asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else {}

    async def _on_database(self, url: str, what: str) -> Any:
        from podling.boot.database import running_database
        from podling.store.postgres import install

        async with running_database(url) as dsn:
            return await getattr(install, what)(dsn)


def _read_assignments(text: str) -> Mapping[str, str]:
    from podling.boot.assignments import read_assignments

    return read_assignments(text)


if __name__ == "__main__":
    sys.exit(main())
