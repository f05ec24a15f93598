"""The worker, as the keeper sees it. Standard library alone; see `keeper`."""

import json
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

from podling.worker.runtime.keeper_journal import Record

RECEIVE_BYTES = 256 * 1024


class Client:
    """One connection at a time: the newest counts. `left_at`: when the last one ended (monotonic)."""

    def __init__(self, selector: selectors.BaseSelector, serve: Callable[[Record], None]) -> None:
        self._selector = selector
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._connection: socket.socket | None = None
        self._inbox = b""
        self._outbox = bytearray()
        self.left_at = time.monotonic()

    @property
    def is_there(self) -> bool:
        return self._connection is not None

    def listen(self, address: str) -> None:
        """Wait for workers at an address."""
        Path(address).unlink(missing_ok=True)
        self._listener.bind(address)
        self._listener.listen(8)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, mask: int) -> None:
        connection, _ = self._listener.accept()
        self._hang_up()
        connection.setblocking(False)
        self._connection = connection
        self._selector.register(connection, selectors.EVENT_READ, self._converse)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._selector.unregister(self._connection)
            self._connection.close()
        self._connection, self._inbox, self._outbox = None, b"", bytearray()
        self.left_at = time.monotonic()

    def _converse(self, mask: int) -> None:
        if not mask & selectors.EVENT_READ or self._connection is None:
            return
        try:
            data = self._connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up()
            return
        *lines, self._inbox = (self._inbox + data).split(b"\n")
        for line in lines:
            self._serve(json.loads(line))

    def send(self, message: Record) -> None:
        """Have a message sent with the next `flush`; nobody hears it if no worker is there."""
        if self._connection is not None:
            self._outbox += json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def flush(self) -> None:
        """Send what waits, as far as the worker takes it now."""
        if self._connection is None:
            return
        try:
            if self._outbox:
                del self._outbox[: self._connection.send(self._outbox)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._hang_up()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        if self._selector.get_key(self._connection).events != wanted:
            self._selector.modify(self._connection, wanted, self._converse)
