"""What the runtime knows of its containers, kept true by events and, after a break, by comparison."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.worker.runtime import docker_labels as label
from podling.worker.runtime.base import Condition, Found, Gone, Observer
from podling.worker.runtime.docker_engine import Engine, Refused
from podling.worker.runtime.docker_events import EventStream
from podling.worker.runtime.docker_images import Images

START_EVENT_SECONDS = 2.0
COMPARE_PAUSE_SECONDS = 1.0
_ACTIONS = ["start", "die", "oom", "kill", "destroy", "health_status"]
_ENDING_SIGNALS = {"9", "15"}
_ENGINE_SIGNALS = {137: "KILL", 143: "TERM"}

_log = logging.getLogger(__name__)


class Watch:
    """The containers of one cluster and node on one engine; tells the observer every end."""

    def __init__(self, engine: Engine, images: Images, cluster_id: str, node_id: str) -> None:
        self._engine = engine
        self._images = images
        self._labels = [f"{label.CLUSTER}={cluster_id}", f"{label.NODE}={node_id}"]
        filters = {"type": ["container"], "event": _ACTIONS, "label": self._labels}
        self._events = EventStream(engine, filters, self._on_connected, self._on_event)
        self._known: dict[str, Found] = {}
        self._stopping: set[str] = set()
        self._removing: set[str] = set()
        self._signals: dict[str, str] = {}
        self._dying: dict[str, Found] = {}  # ends that are being looked into
        self._short_of_memory: set[str] = set()
        self._starts: dict[str, asyncio.Future[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._comparing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers = {
            "start": self._on_start,
            "die": self._on_die,
            "oom": self._on_oom,
            "kill": self._on_kill,
            "destroy": self._on_destroy,
            "health_status": self._on_health,
        }

    async def open(self, observer: Observer) -> None:
        """Follow the events, and learn what is there. Raises RuntimeFailure."""
        self._tell = observer
        self._events.start()
        await self.compare()

    async def close(self) -> None:
        self._events.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def problem(self) -> str | None:
        """Why ends would not be noticed at the moment."""
        return self._events.problem

    # What the runtime says

    def created(self, found: Found) -> None:
        """Take note of a container just made."""
        self._known[found.container_id] = found

    def stopping(self, container_id: str) -> asyncio.Event:
        """Take note that its end will be by our wish; return what is set when it has ended."""
        self._stopping.add(container_id)
        return self._ends.setdefault(container_id, asyncio.Event())

    def not_running(self, container_id: str) -> None:
        """Take note that there was nothing to stop."""
        self._forget_causes(container_id)

    def removing(self, container_id: str) -> None:
        """Take note that it will vanish by our wish."""
        self._removing.add(container_id)

    def kept(self, container_id: str) -> None:
        """Take note that the removal failed."""
        self._removing.discard(container_id)

    def expect_start(self, container_id: str) -> asyncio.Future[None]:
        """Return what is done when the engine tells the start; to be asked for before the start."""
        return self._starts.setdefault(container_id, asyncio.get_running_loop().create_future())

    async def started(self, container_id: str, start: asyncio.Future[None]) -> Found:
        """Return the container as it is after its start."""
        try:
            async with asyncio.timeout(START_EVENT_SECONDS):
                await start
        except TimeoutError:
            return await self.inspect(container_id)
        finally:
            self._starts.pop(container_id, None)
        return self._known.get(container_id) or await self.inspect(container_id)

    # What the engine says when asked

    async def inspect(self, container: str) -> Found:
        """Return a container by its id or name. Raises Refused (404) if it is not there."""
        data = await self._engine.call("inspect", lambda client: client.inspect_container(container))
        found = found_now(data, await self._images.digest_of(data["Image"]))
        known = self._known.get(found.container_id)
        if known is not None and known.condition is found.condition is Condition.EXITED:
            return known
        self._known[found.container_id] = found
        return found

    async def compare(self) -> list[Found]:
        """Return all containers as the engine has them, and tell the ends that no event told."""
        async with self._comparing:
            before = dict(self._known)
            listed = await self._list()
            found = await asyncio.gather(*(self._look(entry, before) for entry in listed))
            self._removing &= {entry["Id"] for entry in listed}
            self._missing(before, {entry["Id"] for entry in listed})
            return [one for one in found if one is not None]

    async def _list(self) -> list[dict[str, Any]]:
        filters = {"label": self._labels}
        return await self._engine.call("list", lambda client: client.containers(all=True, filters=filters))

    async def _look(self, entry: Mapping[str, Any], before: Mapping[str, Found]) -> Found | None:
        container_id = entry["Id"]
        known = before.get(container_id)
        if known is not None and _is_as_listed(known, entry):
            return known
        try:
            data = await self._engine.call("inspect", lambda client: client.inspect_container(container_id))
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise
        found = found_now(data, await self._images.digest_of(data["Image"]))
        return self._changed(known, found)

    def _changed(self, before: Found | None, found: Found) -> Found:
        """Take over what a comparison found, unless an event has said something newer meanwhile."""
        now = self._known.get(found.container_id)
        if now is not before:
            return now or found
        if found.condition is not Condition.EXITED or before is None:
            self._known[found.container_id] = found
            if before is not None and before.health is not found.health:
                self._tell(found)
            return found
        if found.container_id not in self._stopping and found.error_code is None:
            found = _ended_by_engine(found)
        self._ended(found)
        return found

    def _missing(self, before: Mapping[str, Found], listed: set[str]) -> None:
        for container_id, found in before.items():
            if container_id not in listed and self._known.get(container_id) is found:
                self._vanished(found)

    # What the engine's events say

    def _on_connected(self) -> None:
        self._spawn(self._compare_until_done())

    async def _compare_until_done(self) -> None:
        while True:
            try:
                await self.compare()
                return
            except RuntimeFailure as failure:
                _log.warning("containers cannot be compared: %s", failure.message)
                await asyncio.sleep(COMPARE_PAUSE_SECONDS)

    def _on_event(self, event: Mapping[str, Any]) -> None:
        handler = self._handlers.get(event.get("Action", "").partition(":")[0])
        if handler is not None:
            handler(event["Actor"]["ID"], event)

    def _on_start(self, container_id: str, event: Mapping[str, Any]) -> None:
        known = self._known.get(container_id)
        self._known[container_id] = label.found_from_event(
            event,
            condition=Condition.RUNNING,
            image_digest=known.image_digest if known else None,
            started_at=label.event_time(event),
        )
        start = self._starts.pop(container_id, None)
        if start is not None and not start.done():
            start.set_result(None)

    def _on_die(self, container_id: str, event: Mapping[str, Any]) -> None:
        known = self._known.get(container_id)
        exit_code = int(event["Actor"]["Attributes"]["exitCode"])
        found = label.found_from_event(
            event,
            condition=Condition.EXITED,
            image_digest=known.image_digest if known else None,
            started_at=known.started_at if known else None,
            finished_at=label.event_time(event),
            exit_code=exit_code,
        )
        if exit_code == 0:
            self._ended(found)
        else:
            self._dying[container_id] = found = self._attributed(found)
            self._spawn(self._explain(found))

    async def _explain(self, found: Found) -> None:
        """Tell an end that was no success, with what the engine knows beyond its code.

        If the container is removed meanwhile, what is known by then is told before that.
        """
        try:
            data = await self._engine.call(
                "inspect", lambda client: client.inspect_container(found.container_id)
            )
            seen = label.found_from_inspect(data, found.image_digest)
        except RuntimeFailure:
            seen = found  # removed or out of reach by now: the event is all that is known
        if seen.condition is Condition.EXITED and seen.exit_code == found.exit_code:
            # Times by the events alone: the engine's state has others, which may even cross.
            found = replace(
                seen,
                started_at=found.started_at,
                finished_at=found.finished_at,
                error_code=found.error_code or seen.error_code,
                error=found.error or seen.error,
            )
        if self._dying.pop(found.container_id, None) is not None:
            self._ended(self._attributed(found))

    def _attributed(self, found: Found) -> Found:
        if found.container_id in self._short_of_memory or found.error_code == ErrorCode.OOM:
            return replace(found, error_code=ErrorCode.OOM, error=label.OOM_SENTENCE)
        signal = self._signals.get(found.container_id, "")
        if signal in _ENDING_SIGNALS or found.exit_code == _code_of(signal):
            sentence = label.EXTERNAL_SENTENCE.format(signal=signal)
            return replace(found, error_code=ErrorCode.EXTERNAL, error=sentence)
        return found

    def _on_health(self, container_id: str, event: Mapping[str, Any]) -> None:
        known = self._known.get(container_id)
        health = label.health_of(event["Action"].partition(": ")[2])
        if known is None or known.condition is not Condition.RUNNING:
            return
        self._known[container_id] = found = replace(known, health=health)
        self._tell(found)

    def _on_oom(self, container_id: str, event: Mapping[str, Any]) -> None:
        self._short_of_memory.add(container_id)

    def _on_kill(self, container_id: str, event: Mapping[str, Any]) -> None:
        if container_id not in self._stopping | self._removing:
            self._signals[container_id] = event["Actor"]["Attributes"].get("signal", "")

    def _on_destroy(self, container_id: str, event: Mapping[str, Any]) -> None:
        if (found := self._dying.pop(container_id, None)) is not None:
            self._ended(found)
        known = self._known.get(container_id)
        if known is not None:  # else the engine itself gave up a create half-way
            self._vanished(known)
        self._removing.discard(container_id)

    # What follows

    def _ended(self, found: Found) -> None:
        self._known[found.container_id] = found
        self._forget_causes(found.container_id)
        self._tell(found)

    def _vanished(self, found: Found) -> None:
        self._known.pop(found.container_id, None)
        self._forget_causes(found.container_id)
        if found.container_id in self._removing:
            self._removing.discard(found.container_id)
        else:
            self._tell(_gone(found))

    def _forget_causes(self, container_id: str) -> None:
        self._stopping.discard(container_id)
        self._signals.pop(container_id, None)
        self._short_of_memory.discard(container_id)
        if (end := self._ends.pop(container_id, None)) is not None:
            end.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_as_listed(known: Found, entry: Mapping[str, Any]) -> bool:
    if known.condition is not label.condition_of(entry["State"]):
        return False
    return known.condition is not Condition.RUNNING or known.health is label.listed_health(entry["Status"])


def _code_of(signal: str) -> int | None:
    """Return the exit code of a process that the signal killed."""
    return 128 + int(signal) if signal.isdecimal() else None


def found_now(data: Mapping[str, Any], image_digest: str) -> Found:
    """Return an inspected container whose end no event told: the engine's mark is no exit code."""
    found = label.found_from_inspect(data, image_digest)
    if found.exit_code != label.UNKNOWN_EXIT_MARK:
        return found
    return replace(
        found, exit_code=None, error_code=ErrorCode.UNKNOWN_EXIT, error=label.UNKNOWN_EXIT_SENTENCE
    )


def _gone(found: Found) -> Gone:
    return Gone(
        engine_name=found.engine_name,
        container_id=found.container_id,
        task_id=found.task_id,
        attempt=found.attempt,
        container_name=found.container_name,
    )


def _ended_by_engine(found: Found) -> Found:
    """An engine without live-restore kills what it finds running when it comes back."""
    signal = _ENGINE_SIGNALS.get(found.exit_code or 0)
    if signal is None:
        return found
    return replace(found, error_code=ErrorCode.RUNTIME, error=label.RESTART_SENTENCE.format(signal=signal))
