"""How many connections a server has at once, and who goes when more come."""

from typing import Protocol


class Guest(Protocol):
    """A connection."""

    def cut(self) -> None:
        """End it now."""


class Places:
    """Nobody is turned away for others who only hold a place.

    A newcomer that finds none free takes the place of the connection that has kept the server
    waiting longest: for a first request, for the rest of one, or for the next.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[Guest] = set()
        self._waited_for: dict[Guest, None] = {}  # the longest first

    def __len__(self) -> int:
        return len(self._taken)

    def enter(self, guest: Guest) -> bool:
        """Return whether there is a place; there is none only if every other guest is being served."""
        if len(self._taken) >= self._most:
            longest = next(iter(self._waited_for), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.cut()
        self._taken.add(guest)
        self._waited_for[guest] = None
        return True

    def leave(self, guest: Guest) -> None:
        """Give the place back, or hold it outside of the count from now on."""
        self._taken.discard(guest)
        self._waited_for.pop(guest, None)

    def serve(self, guest: Guest) -> None:
        """Keep the place: it is the server's turn."""
        self._waited_for.pop(guest, None)

    def wait_for(self, guest: Guest) -> None:
        """It is the guest's turn, from now on."""
        if guest in self._taken:
            self._waited_for.pop(guest, None)
            self._waited_for[guest] = None
