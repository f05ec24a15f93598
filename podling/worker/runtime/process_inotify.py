"""The kernel's notices that files have grown, for an event loop."""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode

_IN_MODIFY = 0x2
_EVENT = struct.Struct("iIII")
_READ_BYTES = 64 * 1024


class Inotify:
    """One descriptor for all files; each watch is an event that is set whenever something grew."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._grown: dict[int, list[asyncio.Event]] = {}

    def open(self) -> None:
        """Begin, on the running loop. Raises RuntimeFailure."""
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _failure("fs.inotify.max_user_instances")
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    @contextlib.contextmanager
    def watch(self, files: Sequence[Path]) -> Iterator[asyncio.Event]:
        """Give an event that is set when one of the files is written to. Raises RuntimeFailure."""
        grown = asyncio.Event()
        with contextlib.ExitStack() as watches:
            for file in files:
                number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(file), _IN_MODIFY)
                if number < 0:
                    raise _failure("fs.inotify.max_user_watches")
                self._grown.setdefault(number, []).append(grown)
                watches.callback(self._release, number, grown)
            yield grown

    def _release(self, number: int, grown: asyncio.Event) -> None:
        watchers = self._grown[number]
        watchers.remove(grown)
        if not watchers:
            del self._grown[number]
            self._libc.inotify_rm_watch(self._descriptor, number)  # fails if the file is gone: as well

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._descriptor, _READ_BYTES)
            offset = 0
            while offset < len(data):
                number, _, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                for grown in self._grown.get(number, ()):
                    grown.set()


def _failure(setting: str) -> RuntimeFailure:
    reason = os.strerror(ctypes.get_errno())
    return RuntimeFailure(f"The output cannot be followed: {reason}; see {setting}.", code=ErrorCode.RUNTIME)
