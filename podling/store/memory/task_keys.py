"""The key of attempts' credentials."""


class TaskKeyTable:
    """The port `TaskKeys`."""

    def __init__(self) -> None:
        self._key: bytes | None = None

    async def shared(self, candidate: bytes) -> bytes:
        self._key = self._key or candidate
        return self._key
