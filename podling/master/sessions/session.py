"""One worker's live connection, without its transport."""

from dataclasses import dataclass, field

from podling.core.protocol import PROTOCOL_VERSION
from podling.kit.conveyor import Conveyor
from podling.wire.session import Goodbye, MasterMessage

MOST_WAITING = 20_000  # messages a worker may lag behind before it has to connect anew


@dataclass(eq=False, slots=True)
class Session:
    """`outgoing` is worked off by the transport, which ends when it meets a Goodbye."""

    node_id: str
    session_no: int
    instance: str
    protocol_version: int = PROTOCOL_VERSION
    outgoing: Conveyor[MasterMessage] = field(default_factory=Conveyor)
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
        if len(self.outgoing) < MOST_WAITING:
            self.outgoing.put(message)
        else:
            self.close("the worker reads too slowly")

    def close(self, reason: str, reconnect: bool = True) -> None:
        """End the session with a reason; what is still queued is dropped, the next one repeats it."""
        if self.closing:
            return
        self.closing = True
        self.outgoing.clear()
        self.outgoing.put(Goodbye(reason=reason, reconnect=reconnect))
