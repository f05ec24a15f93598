"""Threads that nobody waits for: a call that hangs must not hold up the program's end."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

IDLE_SECONDS = 30.0
"""A thread that had nothing to do for so long ends."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads(Executor):
    """At most `most` threads, made at need. The standard executor's are waited for at exit."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._news = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._count = 0
        self._idle = 0
        self._closed = False

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have it called. Raises RuntimeError after the shutdown."""
        future: Future[_T] = Future()
        with self._news:
            if self._closed:
                raise RuntimeError(f"the threads {self._name} have been shut down")
            self._waiting.append((future, partial(call, *args, **kwargs)))
            if len(self._waiting) <= self._idle:
                self._news.notify()
            elif self._count < self._most:
                self._count += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Cancel what has not begun; what has is left to itself, whatever is asked for."""
        with self._news:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._news.notify_all()
        for future, _ in waiting:
            future.cancel()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            _call(*work)
            del work  # or it would keep the last result alive while it waits

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._news:
            self._idle += 1
            self._news.wait_for(lambda: self._waiting or self._closed, IDLE_SECONDS)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._count -= 1
            return None


def _call(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
        future.set_exception(error)
    else:
        future.set_result(result)
