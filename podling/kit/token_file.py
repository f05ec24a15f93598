"""What is wrong with a file that holds a token."""

import shlex
import stat
from pathlib import Path

_OF_OTHERS = stat.S_IRGRP | stat.S_IROTH


def readable_by_others(path: Path) -> tuple[str, ...]:
    """Return the warning that the file needs; none if its owner alone reads it, or it is not there."""
    if not path.is_file() or not path.stat().st_mode & _OF_OTHERS:
        return ()
    return (
        f"--token-file {path} can be read by others on this machine, and with it all that the token allows:"
        f" chmod 600 {shlex.quote(str(path))}",
    )
