"""The worker's lease over a restart of its program."""

from pathlib import Path

import orjson

from podling.worker.journal import AttemptJournal, WriteMeta

_NAME = "lease"

Lease = tuple[float | None, float | None]
"""Its seconds, and when its renewal was asked for if that was since the machine's start."""


class KeptLease:
    """`boot_id` is new at every start of the machine: the clock of an earlier one tells nothing."""

    def __init__(self, journal: AttemptJournal, boot_id: str) -> None:
        self._journal = journal
        self._boot_id = boot_id
        self.current = self._load()

    def _load(self) -> Lease:
        text = self._journal.meta(_NAME)
        if text is None:
            return None, None
        kept = orjson.loads(text)
        return kept["seconds"], kept["sentAt"] if kept["boot"] == self._boot_id else None

    def forget(self) -> None:
        """Hold no lease: it was another cluster's."""
        self.current = None, None

    def keep(self, sent_at: float, seconds: float) -> None:
        """Hold this one from now on, over a restart too."""
        self.current = seconds, sent_at
        kept = {"boot": self._boot_id, "sentAt": sent_at, "seconds": seconds}
        self._journal.write_later(WriteMeta(name=_NAME, value=orjson.dumps(kept).decode()))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
