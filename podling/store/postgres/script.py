"""The schema as a script for psql, for who lets no program but that one change a database."""

from importlib import resources

from podling.store.postgres.migrations import Migration, shipped
from podling.store.postgres.queries import load

_SQL = load("script")
_MONTHS = load("maintenance").months


def script(broker_names: bool = False) -> str:
    """Return it: what `install` does, on an empty database or one of an earlier version."""
    known = shipped()
    parts = [f"\\set newest {known[-1].version}", _SQL.begin, *map(_applying, known)]
    parts += [_SQL.partitions, _MONTHS, _SQL.finish]
    if broker_names:
        parts.append(broker_functions())
    return "\n".join(parts) + "\n"


def _applying(migration: Migration) -> str:
    settings = {"version": migration.version, "name": migration.name, "checksum": migration.checksum}
    told = "\n".join(f"\\set {name} {setting}" for name, setting in settings.items())
    return f"\n{told}\n{_SQL.is_missing}\n{migration.sql.rstrip()}\n{_SQL.applied}"


def broker_functions() -> str:
    """Return the functions under the names of pgsql-broker."""
    return (resources.files(__package__) / "broker_names.sql").read_text()
