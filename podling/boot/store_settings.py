"""The master's settings about its store, and what has to be said of them."""

from collections.abc import Mapping
from typing import Any

from podling.boot import parsers
from podling.boot.databases import databases
from podling.boot.options import Faults, option

SYNCHRONOUS_COMMIT = ("on", "remote_apply", "remote_write", "local", "off")

STORE = (
    option("--store-type", parsers.one_of("memory", "postgres"), "memory (lost at exit) or postgres",
           variables=("STORE_TYPE", "PODLING_STORE_TYPE")),
    option("--database-url", parsers.database_url, "postgres://… or embedded:DIR", metavar="URL",
           variables=("DATABASE_URL", "PODLING_DATABASE_URL")),
    option("--database-direct-url", parsers.database_url, "the same past a pooler, for LISTEN",
           variables=("DATABASE_DIRECT_URL", "PODLING_DATABASE_DIRECT_URL"), metavar="URL"),
    option("--database-read-url", parsers.server_url, "a standby of it, for lists and history",
           variables=("DATABASE_READ_URL", "PODLING_DATABASE_READ_URL"), metavar="URL"),
    option("--databases", databases, "several databases in one process, as a JSON list", metavar="JSON"),
    option("--database-pool-size", parsers.count(3, 500), "connections to the database (10)", metavar="N"),
    option("--database-timeout", parsers.seconds(0.5, 600), "for a connection, and for a statement (10)"),
    option("--synchronous-commit", parsers.one_of(*SYNCHRONOUS_COMMIT), "PostgreSQL's setting of that name"),
)  # fmt: skip


def check_store(store_type: str, database_url: str | None, faults: Faults) -> None:
    """Note a store that cannot be reached by what was said."""
    known = database_url or "database_url" in faults.fields
    if store_type == "postgres" and not known:
        faults.add(
            "--store-type (STORE_TYPE) is postgres, so --database-url (DATABASE_URL) is needed: write "
            "postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=disable, or embedded:DIR for one machine"
        )


def check_databases(given: Mapping[str, Any], faults: Faults) -> None:
    """Note what is said of one database beside several."""
    if given["store_type"] != "postgres":
        faults.add("--databases (PODLING_DATABASES) are PostgreSQL's; leave out --store-type (STORE_TYPE)")
    for item in STORE:
        if item.field in _OF_ONE and item.field in given:
            faults.add(
                f"{item.flag} ({item.names[0]}) is of one database, and --databases names several; "
                "leave one of them out"
            )


_OF_ONE = frozenset({"database_url", "database_direct_url", "database_read_url", "database_pool_size"})

_LOSES = (
    "--synchronous-commit is off: what was written in the last moments before a crash of the database is gone"
    " then, tasks that were answered with 201 among it."
)


def store_notices(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the operator should know of the store that was chosen."""
    if given.get("store_type", "memory") != "memory":
        return (_LOSES,) if given.get("synchronous_commit") == "off" else ()
    if "database_url" in given:
        return ("DATABASE_URL is set, but STORE_TYPE is memory; STORE_TYPE=postgres uses the database.",)
    return ("The store is memory: tasks are lost when this master ends; STORE_TYPE=postgres keeps them.",)
