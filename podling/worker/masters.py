"""The addresses of masters, tried in turn."""

from collections.abc import Sequence


class Masters:
    """Those given at the start come first, then those that a master has told of."""

    def __init__(self, given: Sequence[str]) -> None:
        self._given = tuple(url.rstrip("/") for url in given)
        self._told: tuple[str, ...] = ()
        self._current: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._given, *self._told)))

    def learn(self, told: Sequence[str]) -> None:
        self._told = tuple(url.rstrip("/") for url in told)

    def knows(self, url: str) -> bool:
        """Whether the operator gave this address, or a master told of it."""
        return url.rstrip("/") in self.all

    def take(self) -> str:
        """Return the next one to try."""
        known = self.all
        following = known.index(self._current) + 1 if self._current in known else 0
        self._current = known[following % len(known)]
        return self._current
