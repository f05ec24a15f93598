"""The store as every part of a master sees it: each call is timed, nothing else is different."""

import time
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast

from podling.master.measures import Measures
from podling.store.base import Batch, Store

_ENDLESS = frozenset({"listen", "open", "close"})

Method = Callable[..., Awaitable[Any]]


class _Measured:
    def __init__(self, store: Store, measures: Measures) -> None:
        self._store = store
        self._measures = measures

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in _ENDLESS or not iscoroutinefunction(found):
            return found
        timed = self._commit() if name == "commit" else self._timed(name)
        setattr(self, name, timed)  # found there from now on
        return timed

    def _timed(self, name: str) -> Method:
        store, measures = self._store, self._measures

        async def call(*arguments: Any, **named: Any) -> Any:
            began, failed = time.perf_counter(), True
            try:
                answer = await getattr(store, name)(*arguments, **named)
                failed = False
                return answer
            finally:
                measures.called(name, began, failed)

        return call

    def _commit(self) -> Method:
        timed = self._timed("commit")

        async def commit(batch: Batch) -> Any:
            self._measures.batch.observe(len(batch.tasks))
            return await timed(batch)

        return commit


def measured(store: Store, measures: Measures) -> Store:
    """Return the store with its calls timed."""
    return cast(Store, _Measured(store, measures))
