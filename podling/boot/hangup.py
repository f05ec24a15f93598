"""SIGHUP: what was read from files at the start is read again."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_callbacks: list[Callable[[], None]] = []  # of the programs in this process: `podling dev` has two


@contextmanager
def at_hangup(reload: Callable[[], None]) -> Iterator[None]:
    """Call `reload` at each SIGHUP meanwhile."""
    _callbacks.append(reload)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _call_all)
    try:
        yield
    finally:
        _callbacks.remove(reload)
        if not _callbacks:
            loop.remove_signal_handler(signal.SIGHUP)


def _call_all() -> None:
    for callback in _callbacks:
        callback()
