"""Who takes alerts in tests: a web server and a mail server on loopback, which keep what they got."""

import asyncio
import base64
import email
import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, Generic, TypeVar

from aiohttp import web

from tests.master.fake_worker import PATIENCE_SECONDS
from tests.support import require

T = TypeVar("T")


class Kept(Generic[T]):
    """What came, in order; `until` waits for so many."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._changed = asyncio.Condition()

    async def add(self, item: T) -> None:
        async with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    async def until(self, count: int, seconds: float = PATIENCE_SECONDS) -> list[T]:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: len(self.items) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(self.items)} of {count} came: {self.items}") from None
        return self.items


def certificate(folder: Path) -> Path:
    """Make a certificate for loopback that nobody has signed, and its key beside it."""
    require(shutil.which("openssl"), "openssl is not installed")
    path = folder / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(path)]
    name = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *options.split(), *files, *name], check=True, capture_output=True)
    return path


def tls_of(path: Path) -> SSLContext:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_name("key.pem"))
    return context


@dataclass(frozen=True)
class Call:
    """A web hook as it arrived."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """Compute what the Standard Webhooks scheme says, from its description alone."""
        key = base64.b64decode(secret.split("_", 1)[1])
        content = b".".join(
            (self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), self.body)
        )
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


@dataclass
class WebReceiver:
    """`answer` says what the call (counted from 0) is answered with."""

    url: str
    calls: Kept[Call] = field(default_factory=Kept)
    answer: Callable[[int], web.Response] = lambda count: web.Response()
    gate: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def web_receiver(port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[WebReceiver]:
    receiver = WebReceiver("")
    receiver.gate.set()

    async def take(request: web.Request) -> web.Response:
        call = Call(dict(request.headers), await request.read())
        count = len(receiver.calls.items)
        await receiver.calls.add(call)
        await receiver.gate.wait()
        return receiver.answer(count)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage


@dataclass
class MailReceiver:
    """`refuse` maps recipients to what they are answered; `accounts` are those that may log in.

    With `upgrade` it offers STARTTLS, and lets nobody log in before that.
    """

    port: int = 0
    mails: Kept[Mail] = field(default_factory=Kept)
    refuse: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    upgrade: SSLContext | None = None
    logged_in: list[str] = field(default_factory=list)


@asynccontextmanager
async def mail_receiver(tls: SSLContext | None = None) -> AsyncIterator[MailReceiver]:
    receiver = MailReceiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Conversation(receiver, reader, writer).run()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024 * 1024, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


class _Conversation:
    def __init__(
        self, receiver: MailReceiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._receiver = receiver
        self._reader = reader
        self._writer = writer
        self._sender = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._say("220 test ready")
        while line := (await self._reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            if verb.upper() == "QUIT":
                await self._say("221 bye")
                return
            await self._answer(verb.upper(), rest)

    async def _answer(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO":
                await self._say("\r\n".join(["250-test", *self._offers(), "250 OK"]))
            case "STARTTLS" if self._receiver.upgrade is not None:
                await self._say("220 go on")
                await self._writer.start_tls(self._receiver.upgrade)
            case "AUTH":
                await self._say(self._log_in(rest))
            case "MAIL":
                self._sender, self._recipients = _address(rest), []
                await self._say("250 ok")
            case "RCPT":
                address = _address(rest)
                refusal = self._receiver.refuse.get(address)
                if refusal is None:
                    self._recipients.append(address)
                await self._say(refusal or "250 ok")
            case "DATA":
                await self._take()
            case _:
                await self._say("250 ok")

    def _offers(self) -> Iterator[str]:
        if self._receiver.upgrade is not None and not self._is_encrypted():
            yield "250-STARTTLS"
        elif self._receiver.accounts:
            yield "250-AUTH PLAIN"

    def _is_encrypted(self) -> bool:
        return self._writer.get_extra_info("sslcontext") is not None

    def _log_in(self, rest: str) -> str:
        _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
        if self._receiver.accounts.get(user) != password:
            return "535 no"
        self._receiver.logged_in.append(user)
        return "235 yes"

    async def _take(self) -> None:
        await self._say("354 go on")
        data = (await self._reader.readuntil(b"\r\n.\r\n"))[: -len(b".\r\n")]
        data = data.replace(b"\r\n..", b"\r\n.")
        message = email.message_from_bytes(data, policy=default)
        await self._receiver.mails.add(Mail(self._sender, tuple(self._recipients), message))
        await self._say("250 taken")

    async def _say(self, text: str) -> None:
        self._writer.write(text.encode() + b"\r\n")
        await self._writer.drain()


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
