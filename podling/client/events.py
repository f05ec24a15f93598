"""Events as a client gets them: the call, and what is made of the bytes that come."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from podling.client.call import Call, JsonObject, get, path_of, text
from podling.client.program import MASTER_AWAY_SECONDS
from podling.core.errors import Unauthorized, Unavailable

Follow = Callable[[str | None], Call[str]]
"""Makes the call that goes on after an id."""

SILENCE_SECONDS = 20.0
"""A connection without any heartbeat for so long is given up."""

END = "end"
"""As `podling.wire.events.END`, whose module takes long to import."""

PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each further try to go on; the last one for all that follow."""


def follow(
    last_id: str | None = None,
    *,
    types: Sequence[str] = (),
    task: str | None = None,
    queue: str | None = None,
    node: str | None = None,
    labels: Sequence[str] = (),
    since: str | None = None,
) -> Call[str]:
    """Follow what happens, from now on or after the event with this id; an endless answer."""
    call = get(
        path_of("events"),
        text,
        type=",".join(types) or None,
        taskId=task,
        queue=queue,
        node=node,
        label=labels,
        since=since if last_id is None else None,
    )
    if last_id is None:
        return call
    headers = {"Last-Event-ID": last_id, "Accept": "text/event-stream"}
    return replace(call, request=replace(call.request, headers=headers))


class Following:
    """The state of a reader that goes on where it was, whatever becomes of its connection."""

    def __init__(self, follow: Follow, last_id: str | None, clock: Callable[[], float]) -> None:
        self.last_id = last_id
        self.has_begun = False  # whether a master has said from where on it tells
        self._follow = follow
        self._clock = clock
        self._rest = b""
        self._tries = 0
        self._away_since: float | None = None

    def call(self) -> Call[str]:
        return self._follow(self.last_id)

    def feed(self, chunk: bytes) -> Iterator[JsonObject]:
        """Yield the events that are whole now. Raises Unauthorized once the token has ended."""
        self._tries, self._away_since = 0, None
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        for block in blocks:
            self.has_begun = True
            lines = dict(_field(line) for line in block.split(b"\n"))
            self.last_id = lines.get(b"id", (self.last_id or "").encode()).decode() or None
            if b"data" in lines:
                event: JsonObject = json.loads(lines[b"data"])
                if event["type"] == END:
                    raise Unauthorized(event["reason"], code=event["code"])
                yield event

    def broken(self, error: Unavailable | None) -> float:
        """Return after how many seconds to go on. Raises the error if no master has answered for long."""
        self._rest = b""
        if error is not None:
            self._away_since = self._away_since or self._clock()
            if self._clock() - self._away_since > MASTER_AWAY_SECONDS:
                raise error
        self._tries += 1
        return PAUSES[min(self._tries, len(PAUSES)) - 1]


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, told = line.partition(b": ")
    return name, told
