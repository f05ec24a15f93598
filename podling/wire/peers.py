"""What masters leave for each other in the store: the kind, a newline and a JSON object."""

from typing import Any

from podling.core.errors import InvalidInput
from podling.core.value import value
from podling.wire.codec import decode_leniently, encode
from podling.wire.session import UNKNOWN_MESSAGE, OpenStream


@value
class StreamWanted:
    """Hand the request to the node's worker. `asking` is the master to tell if that cannot be."""

    asking: str
    node_id: str
    request: OpenStream


@value
class StreamDenied:
    """The stream that was wanted will not come."""

    stream_id: str
    error: str


_NAMES: dict[type[Any], str] = {StreamWanted: "streamWanted", StreamDenied: "streamDenied"}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_SEPARATOR = "\n"


def pack(message: StreamWanted | StreamDenied) -> str:
    return _NAMES[type(message)] + _SEPARATOR + encode(message).decode()


def unpack(text: str) -> Any:
    """Read a message. Raises InvalidInput for a kind of a newer master, or a broken body."""
    name, _, body = text.partition(_SEPARATOR)
    if (kind := _KINDS.get(name)) is None:
        raise InvalidInput(f"unknown message {name[:40]!r} of another master", code=UNKNOWN_MESSAGE)
    return decode_leniently(kind, body)
