"""The keeper's journal: what it intends and what it saw, one JSON object a line."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """Records in the order in which they happened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._torn = True  # perhaps: the last line may be half a line
        self.records = 0

    def read(self) -> Iterator[Record]:
        """Yield what was written; a line torn by a crash or a full disk is left out."""
        with Path(self._path).open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record

    def append(self, records: Iterable[Record], *, durable: bool = True) -> None:
        """Write all records at once; with `durable` they are on disk afterwards. Raises OSError."""
        lines = [json.dumps(record, separators=(",", ":")) for record in records]
        data = ("\n" * self._torn + "".join(f"{line}\n" for line in lines)).encode()
        self._torn = True
        while data:
            data = data[os.write(self._descriptor, data) :]
        self._torn = False
        self.records += len(lines)
        if durable:
            os.fdatasync(self._descriptor)

    def replace(self, records: Iterable[Record]) -> None:
        """Begin anew with these records alone. Raises OSError, and then nothing has changed."""
        path = Path(f"{self._path}.new")
        path.unlink(missing_ok=True)
        fresh = Journal(str(path))
        fresh.append(records)
        path.replace(self._path)
        _sync_directory(path.parent)
        os.close(self._descriptor)
        self._descriptor, self._torn, self.records = fresh._descriptor, False, fresh.records


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
