"""What a master needs of a store to know the credentials of attempts."""

from typing import Protocol


class TaskKeys(Protocol):
    async def shared(self, candidate: bytes) -> bytes:
        """Return the key that all masters of this store share; the candidate becomes it if there is none."""
