"""The blocking client behind the asynchronous one's face, so that one test drives both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Self, get_origin

from podling.client import Client, Events, TaskHandle


class Threaded:
    """Has the methods of an object of the blocking library, each to be awaited."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.ismethod(found):
            return found
        if get_origin(inspect.signature(found).return_annotation) in (Iterator, Generator):
            return lambda *arguments, **more: _each(found(*arguments, **more))

        async def call(*arguments: Any, **more: Any) -> Any:
            return _wrapped(await asyncio.to_thread(found, *arguments, **more))

        return call

    async def __aenter__(self) -> Self:
        self._inner.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inner.__exit__(*_)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in _each(self._inner):
            yield item


class Blocking(Threaded):
    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(Client(url, **more))


async def _each(items: Iterator[Any]) -> AsyncIterator[Any]:
    end = object()
    while (item := await asyncio.to_thread(next, items, end)) is not end:
        yield item


def _wrapped(result: Any) -> Any:
    if isinstance(result, list):
        return [_wrapped(item) for item in result]
    return Threaded(result) if isinstance(result, TaskHandle | Events) else result
