"""A file that is whole, or not there."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from podling.core.errors import InvalidInput

# Not every file system lets a folder be synchronized, and not every folder that is written be read.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.EACCES})


class Draft:
    """Written beside `path`, it takes its place at `finish`; left before, it leaves nothing.

    It is a new file of its own, readable by its owner alone: what somebody laid under its name, a
    link say, is neither followed nor emptied. Raises InvalidInput if it cannot be written, or if
    there is something at `path` that it may not replace.
    """

    file: IO[bytes]

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self._path = path
        self._replace = replace
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")

    def __enter__(self) -> "Draft":
        self._check_place()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with writing(self._path):
            self.file = os.fdopen(os.open(self._draft, flags, 0o600), "w+b")
        return self

    def __exit__(self, *_: object) -> None:
        # What matters has been told, or is on the disk under its name.
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)

    def finish(self) -> int:
        """Have all of it on the disk under its name; return its size."""
        with writing(self._path):
            self.file.flush()
            os.fsync(self.file.fileno())
            size = os.fstat(self.file.fileno()).st_size
            self._check_place()
            self._draft.replace(self._path)
            _sync_folder(self._path.parent)
            return size

    def _check_place(self) -> None:
        if not self._replace and os.path.lexists(self._path):
            raise InvalidInput(
                f"{self._path} is there already: name another file, or replace it with --force"
            )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise InvalidInput, with the reason, if what is done in it cannot be written."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror or error}") from None


def _sync_folder(folder: Path) -> None:
    """Have a file's new name on the disk as well."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
