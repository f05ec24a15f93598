"""Brings the ends of logs to a master, where they outlive container and worker."""

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence

import aiohttp
import orjson

from podling.core.protocol import AttemptKey
from podling.kit.wakeup import Wakeup
from podling.wire.credentials import headers_of
from podling.worker.log_files import LogFiles, Tail

MOST_AT_ONCE = 16  # 16 tails of 64 KiB at most: about 1.4 MiB of JSON
BYTES_PER_SECOND = 1024 * 1024
GATHER_SECONDS = 0.1
POST_SECONDS = 20.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
POLL_SECONDS = 30.0
_REFUSED = frozenset({400, 409, 413, 422})

_log = logging.getLogger(__name__)


class TailSender:
    """The newest tail per attempt waits here; a final one waits on disk as well until it is taken.

    `lent` is the credential that the master has lent for the session.
    """

    def __init__(
        self,
        files: LogFiles,
        http: aiohttp.ClientSession,
        node_id: str,
        master_url: Callable[[], str | None],
        lent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.wakeup = Wakeup()
        self._files = files
        self._http = http
        self._path = f"/api/v1/nodes/{node_id}/tails"
        self._master_url = master_url
        self._lent = lent
        self._waiting: dict[AttemptKey, Tail] = {}
        self._final: dict[AttemptKey, Tail | None] = {}  # None: on disk alone
        self._failures = 0

    def put(self, tail: Tail) -> None:
        """Have a tail brought; it replaces an older one of its attempt."""
        if tail.is_final:
            self._waiting.pop(tail.key, None)
            self._final[tail.key] = tail
        elif tail.key not in self._final:
            self._waiting[tail.key] = tail
        self.wakeup.set()

    def resume(self) -> None:
        """Take up what an earlier run of the worker has left on disk."""
        self._final |= dict.fromkeys(self._files.pending_tails(), None)

    async def run(self) -> None:
        """Bring tails for ever."""
        while True:
            await self.wakeup.wait(POLL_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)
            if not await self.flush():
                await self._pause()

    async def flush(self) -> bool:
        """Bring everything that waits now; False as soon as a master does not take it."""
        while (url := self._master_url()) and (keys := self._next()):
            tails = [tail for key in keys if (tail := await self._load(key)) is not None]
            if tails and not await self._bring(url, tails):
                return False
            await asyncio.sleep(sum(len(tail.frames) for tail in tails) / BYTES_PER_SECOND)
        return True

    def _next(self) -> list[AttemptKey]:
        return [*self._final, *self._waiting][:MOST_AT_ONCE]

    async def _load(self, key: AttemptKey) -> Tail | None:
        if key not in self._final:
            return self._waiting.get(key)
        tail = self._final[key] or await self._files.load_tail(key)
        if tail is None:
            del self._final[key]
        return tail

    async def _bring(self, url: str, tails: Sequence[Tail]) -> bool:
        """Post the tails; False if the rest has to wait."""
        status, problem = await self._post(url, tails)
        if status in _REFUSED and len(tails) > 1:
            # One that cannot be taken must not hold up the others.
            return all([await self._bring(url, [tail]) for tail in tails])
        if status not in range(200, 300) and status not in _REFUSED:
            if self._failures == 0:
                _log.warning("the master does not take the ends of logs, trying again: %s", problem)
            self._failures += 1
            return False
        if status in _REFUSED:
            _log.warning("the log's end of task %s is not taken: %s", tails[0].key.task_id, problem)
        self._failures = 0
        for tail in tails:
            await self._done(tail)
        return True

    async def _post(self, url: str, tails: Sequence[Tail]) -> tuple[int, str]:
        body = orjson.dumps({"tails": [_plain(tail) for tail in tails]})
        timeout = aiohttp.ClientTimeout(total=POST_SECONDS)
        headers = {"Content-Type": "application/json"} | headers_of(self._lent())
        try:
            async with self._http.post(
                url + self._path, data=body, headers=headers, timeout=timeout
            ) as answer:
                return answer.status, (await answer.text())[:500] if answer.status >= 300 else ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 0, str(error) or type(error).__name__

    async def _pause(self) -> None:
        self.wakeup.set()
        await asyncio.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1])

    async def _done(self, tail: Tail) -> None:
        if self._waiting.get(tail.key) is tail:
            del self._waiting[tail.key]
        if tail.is_final:
            self._final.pop(tail.key, None)
            await self._files.drop_tail(tail.key)


def _plain(tail: Tail) -> dict[str, object]:
    return {
        "taskId": tail.key.task_id,
        "attempt": tail.key.attempt,
        "frames": base64.b64encode(tail.frames).decode(),
        "droppedBytes": tail.dropped_bytes,
        "final": tail.is_final,
    }
