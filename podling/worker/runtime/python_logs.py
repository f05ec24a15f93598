"""The logs that functions have written, read by the worker; each is a file that its process appends to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

from podling.core.errors import RuntimeFailure
from podling.core.logrecord import LogRecord, decode, size_of
from podling.core.retry import ErrorCode

_PIECE_BYTES = 1024 * 1024


class FunctionLogs:
    """`there` are the attempts that have written anything; only of those is there a file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.there: set[str] = set()
        self._news: dict[str, asyncio.Event] = {}

    def open(self, prefix: str) -> None:
        """Find those of a worker before this one; those of another cluster are nobody's any more."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.name.startswith(prefix):
                self.there.add(path.name)
            else:
                path.unlink()

    def look(self, name: str) -> None:
        """Find what an attempt has written whose process could not tell any more."""
        if (self._directory / name).exists():
            self.there.add(name)

    def tell(self, name: str) -> None:
        """Wake who waits: it has grown, its attempt has ended, or it is removed."""
        if (news := self._news.pop(name, None)) is not None:
            news.set()

    def remove(self, name: str) -> None:
        if name in self.there:
            self.there.discard(name)
            (self._directory / name).unlink(missing_ok=True)
        self.tell(name)

    async def read(
        self, name: str, since: datetime | None, goes_on: Callable[[], bool], follow: bool
    ) -> AsyncIterator[LogRecord]:
        """Yield what is there; with `follow`, go on while it grows. Raises RuntimeFailure (EXTERNAL)."""
        place = 0
        while True:
            news = self._news.setdefault(name, asyncio.Event()) if follow else None
            is_last = not follow or not goes_on()
            while name in self.there:
                records, place = await asyncio.to_thread(self._records, name, place)
                if not records:
                    break
                for record in records:
                    if since is None or record.at >= since:
                        yield record
            if is_last or news is None:
                return
            await news.wait()

    def _records(self, name: str, place: int) -> tuple[list[LogRecord], int]:
        try:
            with (self._directory / name).open("rb") as file:
                file.seek(place)
                records = list(decode(file.read(_PIECE_BYTES)))
        except FileNotFoundError:
            raise RuntimeFailure("The function's log is not there.", code=ErrorCode.EXTERNAL) from None
        return records, place + sum(map(size_of, records))
