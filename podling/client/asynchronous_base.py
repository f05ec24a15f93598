"""What every part of the client stands on: one call sent, and lists read a page at a time.

Each file `blocking_….py` is made from one of these by bin/generate-client, so that each method is
written once.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Protocol

from podling.client import program
from podling.client.call import Call, JsonObject, Page, T
from podling.client.program import Program

PAGE = 500
PARENTS_PAGE = 100  # each may have a result of 64 KiB


class AsyncTransport(Protocol):
    """What the face needs of a client."""

    link: program.Link

    async def perform(self, steps: Program[T]) -> T:
        """Perform a program of `podling.client.program`."""

    def stream(self, call: Call[Any], *, silence_seconds: float = 30.0) -> AsyncGenerator[bytes, None]:
        """Yield the answer's body as it arrives; empty bytes after each `silence_seconds` without any."""


class AsyncCaller(AsyncTransport):
    """The raw door: sends any call of `podling.client`, and answers it as plain JSON."""

    link: program.Link

    async def send(self, call: Call[T]) -> T:
        """Return the call's answer. Raises the typed error of a refusal, Unavailable without a master."""
        return await self.perform(program.exchange(self.link, call))

    async def items(
        self, listing: Callable[..., Call[Page]], *, limit: int | None = None, page: int = PAGE
    ) -> AsyncIterator[JsonObject]:
        """Yield the items of a list, such as of `nodes.listing`; at most `limit`, if that is given.

        The next `page` of so many is asked for when it is needed.
        """
        left, cursor = limit, None
        while left is None or left > 0:
            found = await self.send(listing(limit=page if left is None else min(page, left), cursor=cursor))
            for item in found.items:
                yield item
            left = None if left is None else left - len(found.items)
            cursor = found.next_cursor
            if cursor is None:
                return

    async def list_all(self, listing: Callable[..., Call[Page]]) -> list[JsonObject]:
        """Return all items of a list at once."""
        return await self.perform(program.all_pages(self.link, listing))
