"""Draws one fault after the other, and notes which did not heal."""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.soak.faults import Kind

PAUSE_SECONDS = (1.0, 5.0)
FAULT_SECONDS = 240.0


@dataclass(slots=True)
class Injector:
    """`log` gets a line for each fault. In the second half nothing happens that ends every program,
    so that some of them get old enough to show a leak."""

    kinds: Sequence[Kind]
    dice: random.Random
    log: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    last: str = ""

    async def run(self, seconds: float) -> None:
        """Go on for so long; a fault that has begun is finished."""
        begin = time.monotonic()
        deck: list[Kind] = []
        while time.monotonic() - begin < seconds:
            is_late = time.monotonic() - begin > seconds / 2
            deck = deck or self._shuffled()
            kind = deck.pop()
            if kind.is_total and is_late:
                continue
            await self._one(kind)
            await asyncio.sleep(self.dice.uniform(*PAUSE_SECONDS))

    def _shuffled(self) -> list[Kind]:
        """Return every kind as often as it weighs, so that even a rare one comes in time."""
        deck = [kind for kind in self.kinds for _ in range(max(1, round(kind.weight / 2)))]
        self.dice.shuffle(deck)
        return deck

    async def _one(self, kind: Kind) -> None:
        self.last = kind.name
        self.log(f"{kind.name} …")
        begin = time.monotonic()
        try:
            await asyncio.wait_for(kind.run(), FAULT_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding of this run
            self.failures.append(f"{kind.name}: {error!r}")
            self.log(f"{kind.name} FAILED: {traceback.format_exc()}")
        self.done[kind.name] += 1
        self.log(f"{kind.name}: {time.monotonic() - begin:.1f} s")
