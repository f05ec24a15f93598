"""The one stream of events of an engine, on a thread of its own, taken up again after every break."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from podling.core.errors import RuntimeFailure
from podling.worker.runtime.docker_engine import Engine, Stream

IDLE_SECONDS = 60.0
"""After so much silence the stream is asked for anew, since a dead line looks like a quiet one."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

_log = logging.getLogger(__name__)


class EventStream:
    """Tells `on_event` every event and `on_connected` each time that earlier ones may be missing."""

    def __init__(
        self,
        engine: Engine,
        filters: Mapping[str, list[str]],
        on_connected: Callable[[], None],
        on_event: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._engine = engine
        self._parameters = {"filters": orjson.dumps(filters).decode()}
        self._on_connected = on_connected
        self._on_event = on_event
        self._closed = threading.Event()
        self._stream: Stream | None = None
        self.problem: str | None = "The stream of the Docker engine's events is not connected yet."

    def start(self) -> None:
        """Begin; callbacks come on the running loop."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="docker-events", daemon=True).start()

    def close(self) -> None:
        """End; no callback comes afterwards."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            try:
                self._follow()
                pause = FIRST_PAUSE
            except RuntimeFailure as failure:
                self._broken(failure)
                self._closed.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _follow(self) -> None:
        """Read until the stream ends; a silence of IDLE_SECONDS is an end, too."""
        self._stream = stream = self._engine.stream("/events", self._parameters, IDLE_SECONDS)
        self.problem = None
        self._post(self._on_connected)
        try:
            for line in stream.lines():
                self._post(self._on_event, orjson.loads(line))
        except RuntimeFailure as failure:
            _log.debug("events broke off: %s", failure.message)
        finally:
            stream.close()

    def _broken(self, failure: RuntimeFailure) -> None:
        if self.problem is None:
            _log.warning("events cannot be followed: %s", failure.message)
        self.problem = failure.message

    def _post(self, callback: Callable[..., None], *arguments: Any) -> None:
        if not self._closed.is_set():
            self._loop.call_soon_threadsafe(self._deliver, callback, *arguments)

    def _deliver(self, callback: Callable[..., None], *arguments: Any) -> None:
        if not self._closed.is_set():
            callback(*arguments)
