"""`podling backup`: everything Podling has in a database, as of one moment, in one file.

A format of our own and not pg_dump's: that one has to be as new as the server, is not everywhere, and
its output for an older server is not promised to load. Here the schema comes from the migrations, and
the rows as COPY text, which every PostgreSQL from 12 on reads.
"""

from dataclasses import replace
from pathlib import Path

from podling import __version__
from podling.core.errors import ConfigurationError
from podling.store.postgres.archive import ArchiveWriter, Manifest, TableEntry
from podling.store.postgres.install import RELATIONS, opened
from podling.store.postgres.migrations import shipped, verify
from podling.store.postgres.pool import Connection
from podling.store.postgres.queries import load

LEFT_OUT = frozenset(
    {"changes", "masters", "peer_messages", "podling_lock_waiters", "submit_counts", "task_keys"}
)
"""What running programs tell each other, and what is secret; the migrations' own table is written by them."""

COPY_SECONDS = 6 * 3600.0
PLAIN_TEXT = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = '10min'",
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL bytea_output = 'hex'",
)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SQL = load("backup")


async def backup(dsn: str, path: Path, *, replace: bool = False) -> tuple[Manifest, int]:
    """Write the file; return what it holds and its size. Masters may go on meanwhile.

    Raises ConfigurationError for a database without Podling's present schema, InvalidInput for a
    file that cannot be written or is there already (unless `replace`), StoreUnavailable.
    """
    async with opened(dsn) as pool:
        if await verify(pool):
            raise ConfigurationError(
                "the database has not the schema of this program: run podling db migrate first"
            )
        with ArchiveWriter(path, replace=replace) as writer:
            async with pool.transaction(_SNAPSHOT, *PLAIN_TEXT) as connection:
                manifest = await _copy_out(connection, writer)
            return manifest, writer.finish(manifest)


async def data_tables(connection: Connection) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return name, quoted name and columns of every table that belongs into a backup."""
    rows = await connection.fetch(_SQL.tables, sorted({*RELATIONS} - LEFT_OUT - {"podling_migrations"}))
    return [(row["name"], row["quoted"], tuple(row["columns"])) for row in rows]


async def left_out(connection: Connection) -> list[str]:
    """Return the quoted names of the tables that a restore empties without filling them."""
    return [row["quoted"] for row in await connection.fetch(_SQL.tables, sorted(LEFT_OUT))]


async def _copy_out(connection: Connection, writer: ArchiveWriter) -> Manifest:
    facts = await connection.fetchrow(_SQL.facts)
    assert facts is not None
    manifest = Manifest(
        podling=__version__,
        made_at=facts["made_at"],
        cluster_id=facts["cluster_id"],
        server=facts["server"],
        migrations=tuple(migration.checksum for migration in shipped()),
        partitions=tuple(row["name"] for row in await connection.fetch(_SQL.partitions)),
    )
    tables = [
        await _copy_table(connection, writer, name, quoted, columns)
        for name, quoted, columns in await data_tables(connection)
    ]
    return replace(manifest, tables=tuple(tables))


async def _copy_table(
    connection: Connection, writer: ArchiveWriter, name: str, quoted: str, columns: tuple[str, ...]
) -> TableEntry:
    table = writer.table(name)
    # A query, because COPY of a partitioned table itself is refused.
    names = ", ".join(f'"{column}"' for column in columns)
    query = f"SELECT {names} FROM {quoted}"
    status = await connection.copy_from_query(query, output=table.write, timeout=COPY_SECONDS)
    return TableEntry(name=name, columns=columns, rows=int(status.split()[-1]), sha256=table.close())
