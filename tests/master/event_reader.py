"""A reader of events as any client is one: it knows nothing but the lines that come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.master.fake_worker import PATIENCE_SECONDS
from tests.master.masters import Api


class EventReader:
    """Reads one answer; `last_id` is what a browser would send as Last-Event-ID."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last_id = ""

    async def next(self) -> dict[str, Any]:
        """Return the next event; `{}` for lines that are only an id."""
        data, comment = "", False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := (await self._response.content.readline()).decode():
                name, _, text = line.rstrip("\n").partition(": ")
                if name == "id":
                    self.last_id = text
                elif name == "data":
                    data = text
                comment |= line.startswith(":")
                if line == "\n":
                    break
            else:
                raise EOFError
        assert data or comment
        return dict(json.loads(data)) if data else {}

    async def until(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the events up to the first that looks like this."""
        found: list[dict[str, Any]] = []
        while not found or any(found[-1].get(name) != item for name, item in wanted.items()):
            if event := await self.next():
                found.append(event)
        return found


@asynccontextmanager
async def following(api: Api, last_id: str | None = None, **query: Any) -> AsyncIterator[EventReader]:
    """Follow events from now on, or after an id; the reader stands where it begins."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with api.stream("/events", headers=headers, **query) as response:
        assert response.status == 200, await response.text()
        reader = EventReader(response)
        if last_id is None:
            assert await reader.next() == {}
        yield reader
