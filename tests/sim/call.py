"""One call of the database's port, on its way there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Named = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`host` asks it, and gets the answer by `future`."""

    host: str
    name: str
    arguments: tuple[Any, ...]
    named: Named
    future: "asyncio.Future[Any]"

    @property
    def is_fenced(self) -> bool:
        """Whether it must have no effect if it comes too late: by epoch, counter, record or session."""
        match self.name:
            case "commit":
                return self.arguments[0].epoch is not None
            case "save_node":
                return len(self.arguments) > 1 and self.arguments[1] is not None
        return self.name in ("mark_lost", "take_leadership", "block", "unblock")
