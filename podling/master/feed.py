"""What follows from a commit: the view learns it first, then everybody who listens."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from podling.core.task import Task
from podling.core.view import View
from podling.master.committer import Applied

Listener = Callable[[Sequence[Applied]], None]


class Feed:
    """Listeners are called in order of their registration, in the loop, and must not block."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._listeners: list[Listener] = []
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, applied: Sequence[Applied]) -> None:
        applied = [self._as_news(change) for change in applied]
        for change in applied:
            self._view.put_task(change.after)
        for listener in self._listeners:
            listener(applied)
        if self._watchers:
            self._wake([change.after for change in applied])

    def _as_news(self, change: Applied) -> Applied:
        """Return it with what was told of the task before: another master's change that this one went
        over is told with it, since it comes too late by itself.
        """
        before = change.before
        if before is None or not before.status.is_live or not change.after.status.is_live:
            return change
        known = self._view.task(before.task_id)
        is_behind = known is None or known.version < before.version
        return replace(change, before=known) if is_behind else change

    @contextmanager
    def watch(self, task_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at every change of the task; the caller clears it."""
        event = asyncio.Event()
        self._watchers[task_id].add(event)
        try:
            yield event
        finally:
            self._watchers[task_id].discard(event)
            if not self._watchers[task_id]:
                del self._watchers[task_id]

    def _wake(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            for event in self._watchers.get(task.task_id, ()):
                event.set()
