"""Lists that come in pages."""

from collections.abc import Callable

from podling.cli.invocation import Invocation
from podling.client.call import Call, JsonObject, Page

_PAGE = 500


def collect(cli: Invocation, listing: Callable[..., Call[Page]], limit: int | None) -> Page:
    """Return up to `limit` items, from as many pages as it takes; all of them without a limit."""
    items: list[JsonObject] = []
    cursor: str | None = None
    while limit is None or len(items) < limit:
        size = _PAGE if limit is None else min(limit - len(items), _PAGE)
        page = cli.client.send(listing(limit=size, cursor=cursor))
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return Page(items=items, next_cursor=cursor)
