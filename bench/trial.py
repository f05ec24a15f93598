"""How long and how big one repetition is; small ones are for trying whether all of it runs."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

WARM_UP_SECONDS = 10.0
WARM_UP_SHARE = 1 / 6


@dataclass(frozen=True)
class Trial:
    """`scale` below 1 makes the big numbers of a scenario smaller.

    `beside` is entered with the master for as long as the steady state lasts.
    """

    store: str = "postgres"
    seconds: float = 60.0
    scale: float = 1.0
    beside: Callable[[Any], AbstractAsyncContextManager[None]] = field(
        default=lambda _: nullcontext(), repr=False, compare=False
    )

    @property
    def warm_up(self) -> float:
        return min(WARM_UP_SECONDS, self.seconds * WARM_UP_SHARE)

    def words(self, repetitions: int) -> str:
        """Return how long it was, how often, and whether it was a small one, for who reads its figures."""
        size = "" if self.scale == 1 else f", at {self.scale:g} of that size: for trying, not for reading"
        return f"{repetitions} × {self.seconds:g} s{size}"

    def sized(self, number: int, least: int = 1) -> int:
        return max(least, round(number * self.scale))
