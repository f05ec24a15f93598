"""The messages of a worker's session, each its type, a newline and a JSON object. See docs/api.md.

Either side may be a version older than the other: fields that are not known are left out, messages
that are not known are left aside by whoever reads them, and a new field has a default.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

import orjson

from podling.core.errors import InvalidInput
from podling.core.protocol import (
    OLDEST_PROTOCOL_VERSION,
    SPOKEN_VERSIONS,
    Assignment,
    AttemptKey,
    HeldAttempt,
    Report,
    ReportOutcome,
    StopOrder,
)
from podling.core.value import value
from podling.wire.codec import decode_leniently, encode_compactly
from podling.wire.reports import read_all, read_reports

# From the worker


@value
class Hello:
    """The first message. `held` is everything the worker has, whatever its state.

    `protocol_version` is the one that both speak: see `SUBPROTOCOLS`.
    `instance` is new at every start of the worker program, so that two workers that share a node
    id by mistake can be told from one that reconnects. `starts_afresh`: its journal is new, so it
    knows nothing of what was given to its node before. `beats_only`: it has not asked its runtimes
    yet, so `held` is not what it found, and it only keeps the node's lease until its next hello.
    """

    protocol_version: int
    instance: str
    hostname: str
    port: int
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()
    version: str = ""
    held: tuple[HeldAttempt, ...] = ()
    unhealthy: str | None = None
    starts_afresh: bool = False
    beats_only: bool = False


@value
class BeatMessage:
    counter: int
    unhealthy: str | None = None


@value
class Reports:
    """`invalid` are the sequence numbers of items that could not be read; filled in by `unpack`."""

    items: tuple[Report, ...]
    invalid: tuple[int, ...] = ()


@value
class Inventory:
    """The full set again, every 30 s; answered by `desired`."""

    held: tuple[HeldAttempt, ...]


@value
class StreamRefused:
    """The worker cannot serve a stream that was asked for."""

    stream_id: str
    error: str


# From the master


@value
class Welcome:
    """Answers hello. `desired` follows from the inventory; see Desired.

    `secret` is a credential for the session's other requests, and ends with it; there is one for a
    worker that came without any. `task_key` is what the credentials of the node's attempts are made
    with, in hexadecimal digits.
    """

    session_no: int
    cluster_id: str
    lease_seconds: float
    masters: tuple[str, ...]
    desired: "Desired"
    secret: str | None = None
    task_key: str | None = field(default=None, repr=False)


@value
class Desired:
    """The verdict over an inventory: attempts in none of the lists are to be kept.

    `assign` are attempts of this node that the worker does not have.
    """

    assign: tuple[Assignment, ...] = ()
    stop: tuple[StopOrder, ...] = ()
    forget: tuple[AttemptKey, ...] = ()


@value
class Assign:
    items: tuple[Assignment, ...]


@value
class Stop:
    items: tuple[StopOrder, ...]


@value
class BeatAcknowledged:
    counter: int


@value
class ReportsAcknowledged:
    """Outcomes by the reports' sequence numbers."""

    outcomes: Mapping[int, ReportOutcome]


@value
class OpenStream:
    """Dial `path` on the master and send the attempt's log there as binary frames.

    `url` is the asking master's address if that is not the one that holds the session; a worker
    goes only to masters that it was given or told of.
    """

    stream_id: str
    path: str
    task_id: str
    attempt: int
    container: str | None = None
    tail: int | None = None
    since: datetime | None = None
    follow: bool = False
    stream: int | None = None
    url: str | None = None


@value
class MastersKnown:
    """Where masters can be reached now, the one that holds the session first."""

    masters: tuple[str, ...]


@value
class Drain:
    """Start nothing more on this node and send back what has not started, or (None) start again."""

    reason: str | None


@value
class Goodbye:
    """One side ends the session. From a master, `reconnect` says whether the worker should dial
    again; from a worker, it was stopped, and nothing more comes from it.
    """

    reason: str
    reconnect: bool = True


LOG_END = "end"
"""The text that a worker sends on a log stream after the last frame: what came is all there is."""

SUBPROTOCOLS = tuple(f"podling.{version}" for version in SPOKEN_VERSIONS)
"""What a worker offers when it opens the WebSocket; the master takes the newest that it speaks too."""

UNKNOWN_MESSAGE = "unknown_message"
"""The code of the error for a message of a kind that only a newer version knows."""

WorkerMessage = Hello | BeatMessage | Reports | Inventory | StreamRefused | Goodbye
MasterMessage = (
    Welcome
    | Desired
    | Assign
    | Stop
    | BeatAcknowledged
    | ReportsAcknowledged
    | OpenStream
    | MastersKnown
    | Drain
    | Goodbye
)

_NAMES: dict[type[Any], str] = {
    Hello: "hello",
    BeatMessage: "beat",
    Reports: "reports",
    Inventory: "inventory",
    StreamRefused: "streamRefused",
    Welcome: "welcome",
    Desired: "desired",
    Assign: "assign",
    Stop: "stop",
    BeatAcknowledged: "beatAcknowledged",
    ReportsAcknowledged: "reportsAcknowledged",
    OpenStream: "openStream",
    MastersKnown: "mastersKnown",
    Drain: "drain",
    Goodbye: "goodbye",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_SEPARATOR = b"\n"


def pack(message: WorkerMessage | MasterMessage) -> str:
    """Return the message as one WebSocket text: its type, a newline, its JSON.

    Fields that are as they are by default are left out: there are many, and what an older peer does not
    know it is not sent.
    """
    return (_NAMES[type(message)].encode() + _SEPARATOR + encode_compactly(message)).decode()


def version_of(subprotocol: str | None) -> int:
    """Return what a handshake has settled; a side that settles nothing speaks the oldest."""
    known = dict(zip(SUBPROTOCOLS, SPOKEN_VERSIONS, strict=True))
    return known.get(subprotocol or "", OLDEST_PROTOCOL_VERSION)


def unpack(text: str) -> Any:
    """Read a message. Raises InvalidInput for an unknown type or a broken body."""
    name, _, body = text.partition("\n")
    kind = _KINDS.get(name)
    if kind is None:
        raise InvalidInput(f"unknown message {name[:40]!r}", code=UNKNOWN_MESSAGE)
    if "\\u0000" in body:  # no database keeps it, and what a program printed is not the worker's fault
        body = _NUL.sub(r"\1\\ufffd", body)
    return _unpack_reports(body) if kind is Reports else decode_leniently(kind, body)


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def _unpack_reports(body: str) -> Reports:
    """Read them all at once; one by one if any of them is bad."""
    try:
        return Reports(items=read_all(body))
    except InvalidInput:
        pass  # which it is, is found out below
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the message is not valid JSON: {error}", code="invalid_json") from None
    items, invalid = read_reports(plain.get("items") if isinstance(plain, dict) else None)
    return Reports(items=items, invalid=invalid)
