"""The worker's data directory: one program at a time, and the node's id."""

import fcntl
import os
from pathlib import Path

from podling.core.errors import ConfigurationError


class DataDirectory:
    """Locked from `open` until `close`, or the end of the program however it comes."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path) -> "DataDirectory":
        """Make the directory if need be, and lock it.

        Raises ConfigurationError if it cannot be written, or if another worker uses it.
        """
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the data directory {path} cannot be written: {error.strerror}; "
                "choose another one with --data-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ConfigurationError(
                f"another worker uses the data directory {path}; give this one its own with --data-dir"
            ) from None
        return cls(path, lock)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def node_id(self, given: str | None, fresh: str) -> str:
        """Return the node's id: the one given, else the one kept here, else `fresh`; and keep it.

        Raises ConfigurationError if it cannot be kept.
        """
        path = self.path / "node-id"
        kept = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        chosen = given or kept or fresh
        if chosen != kept:
            _write(path, chosen)
        return chosen


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
