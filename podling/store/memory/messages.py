"""What masters left for each other and nobody has taken yet."""

from collections.abc import Iterable

from podling.kit.clock import Clock
from podling.store.base import PeerMessage

KEPT_SECONDS = 60.0


class MessageTable:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, list[tuple[float, str]]] = {}

    def post(self, messages: Iterable[PeerMessage]) -> None:
        now = self._clock.monotonic()
        for message in messages:
            self._waiting.setdefault(message.recipient, []).append((now, message.body))

    def take(self, master_id: str) -> list[str]:
        return [body for _, body in self._waiting.pop(master_id, [])]

    def forget_old(self) -> None:
        oldest = self._clock.monotonic() - KEPT_SECONDS
        for master_id, messages in list(self._waiting.items()):
            if not (young := [message for message in messages if message[0] >= oldest]):
                del self._waiting[master_id]
            else:
                self._waiting[master_id] = young
