"""The file of a backup: a zip of one COPY text per table, and a manifest written last.

A file that was cut off has no directory and is refused as a whole; every table is checked against
the manifest's checksum before anything is loaded.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from podling.core.errors import InvalidInput
from podling.kit.files import Draft, writing

FORMAT = 1
_MANIFEST = "manifest.json"
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class TableEntry:
    """One table's rows in the file."""

    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the file holds, and what it was made from; `migrations` are checksums, oldest first."""

    podling: str
    made_at: str
    cluster_id: str
    server: str
    migrations: tuple[str, ...]
    partitions: tuple[str, ...]
    tables: tuple[TableEntry, ...] = ()
    format: int = field(default=FORMAT)

    @property
    def schema_version(self) -> int:
        return len(self.migrations)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


class ArchiveWriter:
    """Writes beside `path` and takes its place when `finish` has been called; else leaves nothing."""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self._path = path
        self._draft = Draft(path, replace=replace)
        self._zip: zipfile.ZipFile | None = None

    def __enter__(self) -> "ArchiveWriter":
        file = self._draft.__enter__().file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4)
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.__exit__()

    def table(self, name: str) -> "TableWriter":
        """Begin a table; the one before it has to be closed."""
        assert self._zip is not None
        return TableWriter(self._zip.open(f"tables/{name}.copy", "w", force_zip64=True), self._path)

    def finish(self, manifest: Manifest) -> int:
        """Write the manifest, have all of it on the disk under its name, and return its size."""
        assert self._zip is not None
        with writing(self._path):
            self._zip.writestr(_MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
            self._zip.close()
        return self._draft.finish()


class TableWriter:
    """Takes one table's text and knows its checksum."""

    def __init__(self, member: IO[bytes], path: Path) -> None:
        self._member = member
        self._path = path
        self._hash = hashlib.sha256()

    async def write(self, data: bytes) -> None:
        self._hash.update(data)
        with writing(self._path):
            self._member.write(data)

    def close(self) -> str:
        """End the table; return its checksum."""
        with writing(self._path):
            self._member.close()
        return self._hash.hexdigest()


class Archive:
    """A whole backup file. `open` has compared every table with its checksum."""

    def __init__(self, file: zipfile.ZipFile, manifest: Manifest) -> None:
        self._file = file
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Read and check the file. Raises InvalidInput if it is none, or damaged."""
        try:
            file = zipfile.ZipFile(path)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
        except zipfile.BadZipFile:
            raise InvalidInput(f"{path} is not a whole backup: it was cut off, or is another file") from None
        try:
            archive = cls(file, _manifest_of(file, path))
            for table in archive.manifest.tables:
                archive._check(table, path)
        except BaseException:
            file.close()
            raise
        return archive

    def close(self) -> None:
        self._file.close()

    def chunks(self, table: str) -> Iterator[bytes]:
        """Yield the table's text."""
        with self._file.open(f"tables/{table}.copy") as member:
            while chunk := member.read(_CHUNK_BYTES):
                yield chunk

    def _check(self, table: TableEntry, path: Path) -> None:
        found = hashlib.sha256()
        try:
            for chunk in self.chunks(table.name):
                found.update(chunk)
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, ValueError) as error:
            raise InvalidInput(f"{path} is damaged at the table {table.name}: {error}") from None
        if found.hexdigest() != table.sha256:
            raise InvalidInput(f"{path} is damaged: the table {table.name} is not what was written")


def _manifest_of(file: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        plain: dict[str, Any] = orjson.loads(file.read(_MANIFEST))
        tables = tuple(
            TableEntry(**(table | {"columns": tuple(table["columns"])})) for table in plain.pop("tables")
        )
        plain |= {name: tuple(plain[name]) for name in ("migrations", "partitions")}
        manifest = Manifest(**plain, tables=tables)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise InvalidInput(
            f"{path} is no backup of Podling, or of a newer one: its manifest says so"
        ) from None
    if manifest.format != FORMAT:
        raise InvalidInput(
            f"{path} has format {manifest.format}, and this program reads {FORMAT}: use a newer Podling"
        )
    return manifest
