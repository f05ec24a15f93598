"""The checker: what containers wrote outside Podling, to be compared with the store."""

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

_SCRIPT = (
    'echo "start $PODLING_TASK_ID $PODLING_ATTEMPT" >> /ledger/lines; '
    'sleep {seconds}; echo "end $PODLING_TASK_ID $PODLING_ATTEMPT" >> /ledger/lines'
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A volume into which every container appends its start and its end, a line each."""

    volume: str
    path: Path

    def spec(self, name: str, image: str, seconds: float, **more: Any) -> dict[str, Any]:
        """Return a task that takes so long and writes the ledger."""
        return {
            "name": name,
            "image": image,
            "command": ["sh", "-c", _SCRIPT.format(seconds=seconds)],
            "mounts": [{"type": "volume", "source": self.volume, "target": "/ledger"}],
            **more,
        }

    def starts(self) -> Counter[tuple[str, int]]:
        """Count the starts by task and attempt."""
        return self._count("start")

    def ends(self) -> Counter[tuple[str, int]]:
        """Count the ends by task and attempt."""
        return self._count("end")

    def _count(self, word: str) -> Counter[tuple[str, int]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows = (line.split() for line in lines)
        return Counter((row[1], int(row[2])) for row in rows if row[0] == word)


@contextmanager
def ledger(engine: docker.DockerClient) -> Iterator[Ledger]:
    """Make a volume for a test, and remove it afterwards."""
    volume = engine.volumes.create(f"podling-ledger-{secrets.token_hex(4)}")
    try:
        yield Ledger(volume.name, Path(volume.attrs["Mountpoint"]) / "lines")
    finally:
        volume.remove(force=True)
