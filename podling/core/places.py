"""What workers have by name, and how placement knows who has it.

A worker counts its handlers and databases among its resources: `handler/email.send: 10` are ten
places for that job type, `database/shop: 4` four for statements there. So a task goes only to a node
that has what it names, and never to more places than there are.
"""

from enum import StrEnum

from podling.core.value import value


class Kind(StrEnum):
    HANDLER = "handler"
    DATABASE = "database"


@value
class Place:
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def place_of(kind: Kind, name: str) -> str:
    """Return the resource of which each running task of that handler or database takes one."""
    return f"{kind}/{name}"


def named_place(resource: str) -> Place | None:
    """Return what the resource's places are of; None for any other resource."""
    kind, slash, name = resource.partition("/")
    return Place(kind=Kind(kind), name=name) if slash and kind in _KINDS else None


_KINDS = frozenset(Kind)
