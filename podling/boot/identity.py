"""Who a program is across its restarts: an id in its data directory, under a lock."""

import fcntl
import os
import uuid
from pathlib import Path
from typing import IO

from podling.core.errors import ConfigurationError

_held: list[IO[str]] = []  # a lock lives as long as its file object


def claim_identity(data_dir: Path) -> str:
    """Return the master's id of this data directory, made at its first use.

    Raises ConfigurationError if the directory cannot be written, or another master has it.
    """
    path = data_dir / "identity"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            f"the data directory {data_dir} cannot be written ({error.strerror}); "
            "give the master another one with --data-dir"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigurationError(
            f"another podling-master uses the data directory {data_dir}; "
            "stop it, or give this one its own with --data-dir"
        ) from None
    _held.append(file)
    return _read_or_make(file)


def _read_or_make(file: IO[str]) -> str:
    file.seek(0)
    known = file.read().strip()
    if known:
        return known
    made = str(uuid.uuid4())
    file.write(made + "\n")
    file.flush()
    os.fsync(file.fileno())
    return made
