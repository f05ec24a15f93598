"""One worker's live connection, without its transport."""

import asyncio
from dataclasses import dataclass, field

from podling.core.protocol import PROTOCOL_VERSION
from podling.wire.session import Goodbye, MasterMessage

MOST_WAITING = 20_000  # messages a worker may lag behind before it has to connect anew


@dataclass(eq=False, slots=True)
class Session:
    """`outgoing` is drained by the transport, which ends when it meets a Goodbye."""

    node_id: str
    session_no: int
    instance: str
    protocol_version: int = PROTOCOL_VERSION
    outgoing: asyncio.Queue[MasterMessage] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    closing: bool = False
    has_beaten: bool = False  # it was alive after its hello
    drained: bool = False  # the worker has been told to start nothing more

    @property
    def goes_to_masters(self) -> bool:
        """Whether the worker dials masters that it is told of, which it does since protocol 2."""
        return self.protocol_version >= 2

    def send(self, message: MasterMessage) -> None:
        """Queue a message. A worker that lags too far behind is told to connect anew."""
        if self.closing:
            return
        try:
            self.outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.close("the worker reads too slowly")

    def close(self, reason: str, reconnect: bool = True) -> None:
        """End the session with a reason; what is still queued is dropped, the next one repeats it."""
        if self.closing:
            return
        self.closing = True
        while not self.outgoing.empty():
            self.outgoing.get_nowait()
        self.outgoing.put_nowait(Goodbye(reason=reason, reconnect=reconnect))
