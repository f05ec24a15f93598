"""A disk of a few megabytes that can be filled and freed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import require

_BALLAST = "ballast"
_CHUNK = bytes(4096)


class SmallDisk:
    """A file system in memory; `fill` leaves not one byte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        with (self.path / _BALLAST).open("wb", buffering=0) as file:
            try:
                while file.write(_CHUNK):
                    pass
            except OSError:
                return  # full, as wanted

    def free(self) -> None:
        (self.path / _BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one at the path, which is made."""
    require(os.geteuid() == 0, "only root may mount a small disk")
    path.mkdir(mode=0o755, parents=True)
    mount = shutil.which("mount") or "mount"
    command = [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    require(mounted.returncode == 0, f"a small disk cannot be mounted here: {mounted.stderr}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=10)
