"""The program `podling`. `--version` is answered before anything that takes time is imported."""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from podling import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from podling.store.postgres.archive import Manifest


def main(arguments: Sequence[str] | None = None, worker: str = "podling-worker") -> int:
    """Run the command; return its exit code. `worker` is how the other program is called there."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in takewhile(lambda argument: argument.startswith("-") and argument != "--", given):
        sys.stdout.write(f"podling {__version__}\n")
        return 0
    from podling.cli import app
    from podling.cli.invocation import Programs

    programs = Programs(dev=_dev, database=_Schema, read_assignments=_read_assignments, worker=worker)
    return app.run(given, programs)


def _dev(arguments: Sequence[str]) -> int | None:
    program: Any = import_module("podling.boot.dev")
    result: int | None = program.main(list(arguments))
    return result


class _Schema:
    """The database at an address, for `podling db`, `backup` and `restore`."""

    def install(self, url: str, broker_names: bool) -> dict[str, Any]:
        return self._run(url, "install", broker_names=broker_names)

    def script(self, broker_names: bool) -> str:
        from podling.store.postgres.script import script

        return script(broker_names)

    def verify(self, url: str) -> dict[str, Any]:
        return self._run(url, "verify")

    def migrate(self, url: str) -> dict[str, Any]:
        self._run(url, "migrate")
        return self._run(url, "verify")

    def psql(self, url: str, arguments: Sequence[str]) -> int:
        import asyncio

        from podling.boot.psql import psql

        return asyncio.run(psql(url, arguments))

    def backup(self, url: str, path: "Path", replace: bool) -> dict[str, Any]:
        from podling.store.postgres.backup import backup

        manifest, size = _on_database(url, lambda dsn: backup(dsn, path, replace=replace))
        return _told(manifest) | {"bytes": size}

    def restore(self, url: str, path: "Path", replace: bool) -> dict[str, Any]:
        from podling.store.postgres.restore import restore

        done = _on_database(url, lambda dsn: restore(dsn, path, replace=replace))
        return _told(done.manifest) | {"live_attempts": done.live_attempts}

    def _run(self, url: str, what: str, **more: bool) -> dict[str, Any]:
        from dataclasses import asdict, is_dataclass

        from podling.store.postgres import install

        answer = _on_database(url, partial(getattr(install, what), **more))
        return asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else {}


def _on_database(url: str, work: Callable[[str], Awaitable[Any]]) -> Any:
    """Return what the work gives that is told the DSN; an embedded database runs meanwhile."""
    import asyncio

    from podling.boot.database import running_database

    async def run() -> Any:
        async with running_database(url) as dsn:
            return await work(dsn)

    return asyncio.run(run())


def _told(manifest: "Manifest") -> dict[str, Any]:
    return {
        "made_at": manifest.made_at,
        "podling": manifest.podling,
        "server_version": manifest.server,
        "schema_version": manifest.schema_version,
        "cluster_id": manifest.cluster_id,
        "rows": {table.name: table.rows for table in manifest.tables},
    }


def _read_assignments(text: str) -> Mapping[str, str]:
    from podling.boot.assignments import read_assignments

    return read_assignments(text)


if __name__ == "__main__":
    sys.exit(main())
