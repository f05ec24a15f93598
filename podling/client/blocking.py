"""The blocking client, on the standard library alone."""

import http.client
import select
import socket
import ssl
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import Any, Self
from urllib.parse import urlsplit

from podling.client import program
from podling.client.blocking_face import Face
from podling.client.call import Call, Response, T, encoded, error_of, headers_of, target_of
from podling.client.program import ConnectionLost, Effect, Link, Outcome, Program, Send, Sleep

_CHUNK = 64 * 1024
_BROKEN = (OSError, http.client.HTTPException)


class Client(Face):
    """Talks to the masters at `url` (several with commas: the first that answers is used).

    `timeout_seconds` is the deadline of each request; `tls` says whom a connection by https trusts
    (`podling.kit.tls.trusting`). Safe to use from several threads.
    """

    def __init__(
        self,
        url: str = program.DEFAULT_URL,
        *,
        token: str | None = None,
        timeout_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        addresses = program.addresses_of(url)
        self.link = Link(addresses=addresses, token=token, tls=tls, timeout_seconds=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: each request has a connection of its own, which ends with it.

        It is there so that a program may use either client in the same way.
        """

    def perform(self, steps: Program[T]) -> T:
        """Perform a program of `podling.client.program`."""
        outcome: Outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._perform(effect)

    def stream(self, call: Call[Any], *, silence_seconds: float = 30.0) -> Generator[bytes, None, None]:
        """Yield the answer's body as it arrives; empty bytes after each `silence_seconds` without any.

        Raises Unavailable (code `stream_lost`) if it breaks off.
        """
        with closing(self._open_stream(call)) as exchange:
            try:
                yield from exchange.chunks(silence_seconds)
            except _BROKEN as error:
                raise program.stream_lost(program.reason_of(error)) from error

    def _perform(self, effect: Effect) -> Outcome:
        if isinstance(effect, Sleep):
            time.sleep(effect.seconds)
            return None
        with closing(_Exchange(effect, self.link)) as exchange:
            outcome = exchange.open() or exchange.whole_answer()
        if isinstance(outcome, Response):
            self.link = program.preferring(self.link, effect.address)
        return outcome

    def _open_stream(self, call: Call[Any]) -> "_Exchange":
        lost: ConnectionLost | None = None
        for address in self.link.addresses:
            exchange = _Exchange(Send(request=call.request, address=address), self.link)
            lost = exchange.open()
            if lost is None:
                self.link = program.preferring(self.link, address)
                return _accepted(exchange, call)
            exchange.close()
        assert lost is not None, "a link has at least one address"
        raise program.unreachable(self.link, lost)


def _accepted(exchange: "_Exchange", call: Call[Any]) -> "_Exchange":
    if exchange.response.status in call.expected:
        return exchange
    with closing(exchange):
        answer = exchange.whole_answer()
    raise error_of(answer) if isinstance(answer, Response) else program.stream_lost(answer.reason)


class _Exchange:
    """One request on a connection of its own, and the answer to it."""

    def __init__(self, send: Send, link: Link) -> None:
        parts = urlsplit(send.address)
        patience = program.patience_at(link, send)
        host = parts.hostname or ""
        self._connection = (
            http.client.HTTPSConnection(host, parts.port, timeout=patience, context=link.tls)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=patience)
        )
        self._prefix = parts.path
        self._send, self._link = send, link
        self._deadline = link.clock() + patience
        self._socket: socket.socket
        self.response: http.client.HTTPResponse

    def open(self) -> ConnectionLost | None:
        """Send the request and read the head of its answer; return why that was not possible."""
        sent = False
        request = self._send.request
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            sent = True
            self._connection.request(
                request.method,
                self._prefix + target_of(request),
                body=encoded(request),
                headers=headers_of(request, self._link.token),
            )
            self.response = self._connection.getresponse()
        except (*_BROKEN, UnicodeError) as error:
            return self._lost(error, sent)
        return None

    def whole_answer(self) -> Response | ConnectionLost:
        """Return the answer with its body, read before the deadline."""
        try:
            body = b"".join(self._timed_chunks())
        except _BROKEN as error:
            return self._lost(error, sent=True)
        headers = {name.lower(): text for name, text in self.response.getheaders()}
        return Response(status=self.response.status, headers=headers, body=body)

    def chunks(self, silence_seconds: float) -> Iterator[bytes]:
        """Yield the body as it arrives, empty bytes for each stretch of silence."""
        while True:
            if not self._has_data(silence_seconds):
                yield b""
                continue
            chunk = self._read()
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        self._connection.close()
        if hasattr(self, "response"):
            self.response.close()

    def _timed_chunks(self) -> Iterator[bytes]:
        while True:
            left = self._deadline - self._link.clock()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._read()
            if not chunk:
                return
            yield chunk

    def _read(self) -> bytes:
        chunk = self.response.read1(_CHUNK)
        if not chunk and self.response.length:
            raise http.client.IncompleteRead(b"", self.response.length)
        return chunk

    def _has_data(self, seconds: float) -> bool:
        """Wait until data or the end can be read; False after so many seconds of silence.

        A read that times out leaves the response unusable, so the silence is spent outside of one.
        """
        if self.response.isclosed():
            return True
        self._socket.setblocking(False)
        try:
            with suppress(ssl.SSLWantReadError):
                if self._is_content(self.response.fp.peek(1)):
                    return True
        finally:
            self._socket.settimeout(self._link.timeout_seconds)
        return bool(select.select([self._socket], [], [], seconds)[0])

    def _is_content(self, buffered: bytes) -> bool:
        """Whether more was received than the line end of the chunk that was read last."""
        after_chunk = self.response.chunked and not getattr(self.response, "chunk_left", None)
        return bool(buffered.lstrip(b"\r\n") if after_chunk else buffered)

    def _lost(self, error: BaseException, sent: bool) -> ConnectionLost:
        unanswered = isinstance(error, http.client.RemoteDisconnected)
        return program.lost_connection(self._send.address, error, sent=sent, unanswered=unanswered)
