"""One call of the database's port, on its way there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Named = Mapping[str, Any]

_LEADERS = ("commit", "block", "mark_lost", "take_leadership")


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`host` asks it, and gets the answer by `future`."""

    host: str
    name: str
    arguments: tuple[Any, ...]
    named: Named
    future: "asyncio.Future[Any]"

    @property
    def is_leaders(self) -> bool:
        """Whether only a leader, or who is about to be one, may ask for it."""
        return self.name in _LEADERS and (self.name != "commit" or self.arguments[0].epoch is not None)
