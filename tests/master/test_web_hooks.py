"""Web hooks go to no address that nobody allowed, however it is written or resolved."""

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from podling.kit.clock import SystemClock
from podling.master.alerts.delivery import Refused, Target, Unreachable
from podling.master.alerts.names import MOST_LOOKUPS, THREADS
from podling.master.alerts.web_hook import CheckedResolver, WebHookSender, sign, socket_maker
from tests.master.alert_contents import content
from tests.master.fake_worker import PATIENCE_SECONDS
from tests.master.receivers import WebReceiver, certificate, tls_of, web_receiver

# The example that the Standard Webhooks specification gives.
EXAMPLE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE_BODY = b'{"test": 2432232314}'


@pytest.fixture
async def receiver() -> AsyncIterator[WebReceiver]:
    async with web_receiver() as found:
        yield found


def sender(*hosts: str, seconds: float = 5.0) -> WebHookSender:
    return WebHookSender(hosts, SystemClock(), seconds)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
    ],
)
async def test_private_addresses_are_never_called(receiver: WebReceiver, host: str) -> None:
    url = f"http://{host}:{urlsplit(receiver.url).port}/hook"
    with pytest.raises(Refused) as refusal:
        await sender("hooks.example.org", "*.example.org").send(Target(http=url), content())
    assert refusal.value.final  # and not because nobody was there
    assert not receiver.calls.items


async def test_a_listed_host_may_be_private(receiver: WebReceiver) -> None:
    assert await sender("127.0.0.1").send(Target(http=receiver.url), content()) == "HTTP 200"
    port = urlsplit(receiver.url).port
    named = Target(http=f"http://localhost:{port}/hook")
    assert await sender(f"localhost:{port}").send(named, content()) == "HTTP 200"
    with pytest.raises(Refused, match="no public address"):
        await sender("localhost:1").send(named, content())


class Answers(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None: ...


async def test_one_private_address_of_a_name_is_enough() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.7 is no public address"):
        await CheckedResolver(False, Answers("93.184.216.34", "10.0.0.7")).resolve("both.example.org", 443)
    assert await CheckedResolver(False, Answers("93.184.216.34")).resolve("good.example.org", 443)
    assert await CheckedResolver(True, Answers("10.0.0.7")).resolve("listed.example.org", 443)


def test_the_last_word_is_at_the_socket() -> None:
    """What a name resolved to a moment ago does not count: the address that is connected to does."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(Refused, match="no public address"):
        socket_maker(False)(info)
    socket_maker(True)(info).close()


async def test_a_redirect_to_a_private_address_is_not_followed(receiver: WebReceiver) -> None:
    async with web_receiver() as inner:
        receiver.answer = lambda count: web.Response(status=302, headers={"Location": inner.url})
        with pytest.raises(Refused, match="redirect") as refusal:
            await sender("127.0.0.1").send(Target(http=receiver.url), content())
        assert refusal.value.final
        assert not inner.calls.items


async def test_a_call_has_an_end(receiver: WebReceiver) -> None:
    receiver.gate.clear()
    with pytest.raises(Unreachable, match="no answer within"):
        await sender("127.0.0.1", seconds=0.2).send(Target(http=receiver.url), content())
    receiver.gate.set()


async def test_an_endless_answer_is_not_read(receiver: WebReceiver) -> None:
    receiver.answer = lambda count: web.Response(status=500, body=b"x" * 4_000_000)
    with pytest.raises(Refused) as refusal:
        await sender("127.0.0.1").send(Target(http=receiver.url), content())
    assert len(refusal.value.message) < 400


async def test_slow_name_servers_hold_up_nothing_but_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, looking = threading.Event(), socket.getaddrinfo

    def slow(host: Any, *more: Any, **options: Any) -> Any:
        if host == "slow.example.org":
            answer.wait(PATIENCE_SECONDS)
        return looking("127.0.0.1" if host == "slow.example.org" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    before = set(threading.enumerate())
    hooks = sender(seconds=0.1)
    calls = [hooks.send(Target(http="http://slow.example.org/"), content()) for _ in range(40)]
    try:
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(ended, Unreachable)
        begun = set(threading.enumerate()) - before
        threads = [thread for thread in begun if thread.name.startswith(THREADS)]
        assert len(threads) == MOST_LOOKUPS
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await asyncio.to_thread(lambda: "not held up") == "not held up"
        assert not answer.is_set()
    finally:
        answer.set()
    with pytest.raises(Refused, match="no public address"):
        await hooks.send(Target(http="http://slow.example.org/"), content())
    await hooks.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE_SECONDS)
        assert not thread.is_alive()


async def test_no_packed_answer_is_asked_for_or_unpacked(receiver: WebReceiver) -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    receiver.answer = lambda count: web.Response(
        status=500, body=packed, headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(Refused) as refusal:
        await sender("127.0.0.1").send(Target(http=receiver.url), content())
    assert "xxx" not in refusal.value.message
    assert receiver.calls.items[0].headers["Accept-Encoding"] == "identity"


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(Unreachable):
            await sender("127.0.0.1").send(Target(http=url), content())
    with pytest.raises(Unreachable, match="cannot be resolved"):
        await sender().send(Target(http="http://no-such-host.invalid/"), content())


async def test_a_certificate_has_to_be_good(tmp_path: Path) -> None:
    async with web_receiver(tls=tls_of(certificate(tmp_path))) as receiver:
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            await sender("127.0.0.1").send(Target(http=receiver.url), content())
        assert not receiver.calls.items


def test_the_signature_is_that_of_the_scheme() -> None:
    signature = sign(EXAMPLE_SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", EXAMPLE_BODY)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_time_is_signed_too(receiver: WebReceiver) -> None:
    await sender("127.0.0.1").send(Target(http=receiver.url, secrets=(EXAMPLE_SECRET,)), content())
    (call,) = receiver.calls.items
    assert call.is_signed_with(EXAMPLE_SECRET)
    age = datetime.now(UTC).timestamp() - int(call.headers["webhook-timestamp"])
    assert -1 < age < 60
