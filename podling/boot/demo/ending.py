"""How the demo ends: the first signal interrupts it, a later one hurries its end and never breaks it off."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Whether the program is to end, and at once. `hurry` is called from a signal's handler."""

    def __init__(self) -> None:
        self._has_begun = False
        self._hurry: Callable[[], None] | None = None
        self.is_hurried = False

    def watch(self) -> None:
        """Have the signals that end a program come here."""
        for number in SIGNALS:
            signal.signal(number, self._signalled)

    def begin(self, hurry: Callable[[], None]) -> None:
        """From now on a signal interrupts nothing any more."""
        self._has_begun = True
        self._hurry = hurry
        if self.is_hurried:
            hurry()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._has_begun:
            self._has_begun = True
            raise KeyboardInterrupt
        self.is_hurried = True
        if self._hurry is not None:
            self._hurry()


def family_of(marker: str) -> list[int]:
    """Return the processes that name the marker on their command lines, and all that descend from them."""
    parents, chosen = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(folder.name)
            if os.fsencode(marker) in (folder / "cmdline").read_bytes():
                chosen.add(pid)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return sorted(pid for pid in parents if not chosen.isdisjoint(_line(pid, parents)) and pid != os.getpid())


def _line(pid: int, parents: dict[int, int]) -> Iterable[int]:
    """Yield the process, its parent, and so on, up to this program."""
    while pid in parents and pid != os.getpid():
        yield pid
        pid = parents[pid]
