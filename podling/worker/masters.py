"""The addresses of masters, tried in turn, and whether they are of one cluster."""

import asyncio
from collections.abc import Sequence

import aiohttp

from podling.core.errors import ConfigurationError

ANSWER_SECONDS = 3.0
MOST_REMEMBERED = 4  # of those that a master has told of before, and tells of no more


class Masters:
    """Those given at the start come first, then those that a master has told of, then earlier ones.

    A master tells of those that it knows to be alive. One that restarts is not among them for a
    moment, and if the one that tells dies just then, the worker shall not be left without any.
    """

    def __init__(self, given: Sequence[str]) -> None:
        self._given = tuple(url.rstrip("/") for url in given)
        self._told: tuple[str, ...] = ()
        self._earlier: tuple[str, ...] = ()
        self._current: str | None = None
        self._stays = False

    @property
    def given(self) -> tuple[str, ...]:
        return self._given

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._given, *self._told, *self._earlier)))

    def learn(self, told: Sequence[str]) -> None:
        before, self._told = self._told, tuple(url.rstrip("/") for url in told)
        left = dict.fromkeys(url for url in (*before, *self._earlier) if url not in self._told)
        self._earlier = tuple(left)[:MOST_REMEMBERED]

    def knows(self, url: str) -> bool:
        """Whether the operator gave this address, or a master told of it."""
        return url.rstrip("/") in self.all

    def take(self) -> str:
        """Return the next one to try."""
        known = self.all
        step, self._stays = 0 if self._stays else 1, False
        following = known.index(self._current) + step if self._current in known else 0
        self._current = known[following % len(known)]
        return self._current

    def stay(self) -> None:
        """Have the next `take` return the same one again."""
        self._stays = True


async def refuse_two_clusters(masters: Masters, http: aiohttp.ClientSession) -> None:
    """Raises ConfigurationError if two of the masters given answer now, each for a cluster of its own."""
    urls = masters.given
    if len(urls) == 1:
        return
    answers = zip(urls, await asyncio.gather(*(_cluster_of(url, http) for url in urls)), strict=True)
    found = {cluster_id: url for url, cluster_id in answers if cluster_id is not None}
    if len(found) > 1:
        told = " and ".join(f"{url} ({cluster_id})" for cluster_id, url in found.items())
        raise ConfigurationError(
            f"the masters {told} are of two clusters, as masters on the memory store always are: give this "
            "worker one of them, or run both with --store-type postgres on one database"
        )


async def _cluster_of(url: str, http: aiohttp.ClientSession) -> str | None:
    """Return the cluster's id; None if the master does not answer, or is one that does not tell."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), http.get(f"{url}/ready") as response:
            told = await response.json() if response.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None  # whether it can be reached is the session's to find out
    return told.get("clusterId") if isinstance(told, dict) else None
