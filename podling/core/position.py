"""Where a reader of the feed is: one number per master, since there is no order of all commits."""

import re
from collections.abc import Mapping
from dataclasses import field

from podling.core.errors import InvalidInput
from podling.core.value import value

MOST_MASTERS = 500
_PLACE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._:-]{0,127})=([0-9]{1,18})(?:/([0-9]{1,9}))?", re.ASCII)


@value
class Position:
    """What a reader has: of every master all batches up to a number, and so many changes of the next."""

    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def at(cls, numbers: Mapping[str, int]) -> "Position":
        """Return the position after these batches."""
        return cls(places={master_id: (number, 0) for master_id, number in numbers.items()})

    @property
    def numbers(self) -> dict[str, int]:
        return {master_id: number for master_id, (number, _) in self.places.items()}

    def has(self, master_id: str, number: int) -> bool:
        """Whether all of this batch is known."""
        return number <= self.places.get(master_id, (0, 0))[0]

    def known_of(self, master_id: str, number: int) -> int:
        """Return how many of a batch's changes are known."""
        last, more = self.places.get(master_id, (0, 0))
        return more if number == last + 1 else 0

    def moved(self, master_id: str, number: int, changes: int, of: int) -> "Position":
        """Return the position after so many changes of a batch that holds `of` of them."""
        place = (number, 0) if changes >= of else (number - 1, changes)
        return Position(places={**self.places, master_id: place})

    def trimmed(self, kept: Mapping[str, tuple[int, int]]) -> "Position":
        """Return the position without masters of which nothing is kept any more."""
        return Position(places={name: place for name, place in self.places.items() if name in kept})


def missing(position: Position, kept: Mapping[str, tuple[int, int]]) -> str | None:
    """Return why a reader cannot get all that came after its position; None if it can.

    `kept` has the oldest and newest number of every master. A master's first number is 1.
    """
    for master_id, (number, _) in position.places.items():
        if master_id not in kept or number > kept[master_id][1]:
            return "the store has not what was read before: it was restarted, restored, or is another one"
    for master_id, (oldest, _) in kept.items():
        if position.places.get(master_id, (0, 0))[0] + 1 < oldest:
            return "what came after it is older than what is kept"
    return None


def written(position: Position) -> str:
    """Return the position as the id of an event."""
    return ",".join(
        f"{master_id}={number}/{more}" if more else f"{master_id}={number}"
        for master_id, (number, more) in position.places.items()
    )


def parse_position(text: str) -> Position:
    """Read an event's id. Raises InvalidInput."""
    places = {}
    parts = text.split(",") if text else []
    for part in parts:
        if len(parts) > MOST_MASTERS or (match := _PLACE.fullmatch(part)) is None:
            raise InvalidInput.field("Last-Event-ID", "is not the id of an event")
        places[match[1]] = (int(match[2]), int(match[3] or 0))
    return Position(places=places)
