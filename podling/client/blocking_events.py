# Written by bin/generate-client from asynchronous_events.py: change that file instead.
"""The reader of events: it has its place from the moment on at which it was made."""

from collections import deque
from collections.abc import Generator
from typing import Self, cast

from podling.client import events, program
from podling.client.blocking_base import Transport
from podling.client.call import JsonObject
from podling.client.models import Event
from podling.core.errors import Unavailable


class Events:
    """An iterator over what happens, for ever, at the next master when one goes.

    Close it, or use it as a context manager; a program that ends need do neither.
    """

    def __init__(self, client: Transport, reader: events.Following) -> None:
        self._client = client
        self._reader = reader
        self._come: deque[JsonObject] = deque()
        self._chunks: Generator[bytes, None, None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._come:
            self._receive()
        return cast(Event, self._come.popleft())

    def begin(self) -> Self:
        """Return once a master has said from where on it tells, so that nothing later is missed."""
        while not self._reader.has_begun:
            self._receive()
        return self

    def close(self) -> None:
        """Leave the master; who iterates on comes back and misses nothing."""
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            chunks.close()

    def _receive(self) -> None:
        """Take what comes next; after a lost connection, or without any heartbeat, begin again."""
        lost: Unavailable | None = None
        try:
            if self._chunks is None:
                call = self._reader.call()
                self._chunks = self._client.stream(call, silence_seconds=events.SILENCE_SECONDS)
            if chunk := next(self._chunks, b""):
                self._come.extend(self._reader.feed(chunk))
                return
        except Unavailable as error:
            lost = error
        self.close()
        self._client.link = program.turned(self._client.link)
        self._client.perform(program.pause(self._reader.broken(lost)))
