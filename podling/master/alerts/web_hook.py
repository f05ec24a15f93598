"""Web hooks: signed by the Standard Webhooks scheme, and never sent to where nobody allowed them."""

import asyncio
import base64
import hmac
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from podling import __version__
from podling.core.addresses import is_listed, is_public, port_of
from podling.core.alert_policy import secret_key
from podling.kit.clock import Clock
from podling.master.alerts.delivery import Content, Refused, Target, Unreachable, shortened
from podling.master.alerts.names import NameResolver

SECONDS = 10.0  # for all of one call
MOST_ANSWER_BYTES = 4096
MOST_CONNECTIONS = 32
_GONE = 410


class WebHookSender:
    """`hosts` are patterns of those that may be called wherever they are; others only on public addresses."""

    def __init__(self, hosts: tuple[str, ...], clock: Clock, seconds: float = SECONDS) -> None:
        self._hosts = hosts
        self._clock = clock
        self._seconds = seconds
        self._names = NameResolver()

    async def close(self) -> None:
        await self._names.close()

    async def send(self, target: Target, content: Content) -> str:
        assert target.http is not None
        headers = self._headers(target, content)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(target.http, headers, content.body)
        except TimeoutError:
            raise Unreachable(f"no answer within {self._seconds:g} s") from None
        except aiohttp.ClientConnectorDNSError:
            raise Unreachable("the name of the host cannot be resolved") from None
        except aiohttp.InvalidURL as error:  # forms of an address that only who hides something needs
            raise _unusable(error) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the call failed: {shortened(_reason(error))}") from None
        except ValueError as error:  # a host that is no name
            raise _unusable(error) from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> str:
        listed = is_listed(urlsplit(url).hostname or "", port_of(url), self._hosts)
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(listed, self._names),
            use_dns_cache=False,
            force_close=True,
            socket_factory=socket_maker(listed),
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return _judged(response.status, await response.content.read(MOST_ANSWER_BYTES))

    def _headers(self, target: Target, content: Content) -> Mapping[str, str]:
        message_id = content.message.message_id
        headers = {
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"podling/{__version__}",
            "Podling-Delivery": message_id,
            "webhook-id": message_id,
        }
        if not target.secrets:
            return headers
        timestamp = str(int(self._clock.now().timestamp()))
        signatures = [sign(secret, message_id, timestamp, content.body) for secret in target.secrets]
        return headers | {"webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of the Standard Webhooks scheme over id, time and body."""
    key = secret_key(secret)
    assert key is not None, "a rule's secret was checked when it was made"
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _judged(status: int, answer: bytes) -> str:
    if 200 <= status < 300:
        return f"HTTP {status}"
    if 300 <= status < 400:
        raise Refused(f"it answered with a redirect (HTTP {status}), which is not followed", final=True)
    said = shortened(answer.decode(errors="replace"))
    raise Refused(f"it answered HTTP {status}" + (f": {said}" if said else ""), final=status == _GONE)


class CheckedResolver(AbstractResolver):
    """Every address of a name has to be allowed: whoever owns the name must not get to choose."""

    def __init__(self, listed: bool, resolver: AbstractResolver) -> None:
        self._listed = listed
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not self._listed:
            for result in found:
                _check(result["host"])
        return found

    async def close(self) -> None:
        """Close nothing: the next call looks its name up by the same resolver."""


def socket_maker(listed: bool) -> "aiohttp.connector.SocketFactoryType":
    """Return the maker of sockets: the last word on every address that is connected to."""

    def make(info: "aiohttp.AddrInfoType") -> socket.socket:
        family, kind, protocol, _, address = info
        if not listed:
            _check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return make


def _check(address: str) -> None:
    if not is_public(address):
        raise _forbidden(address)


def _forbidden(address: str) -> Refused:
    return Refused(
        f"{address} is no public address; the operator can allow its host with --alert-hosts",
        code="address_forbidden",
        final=True,
    )


def _unusable(error: ValueError) -> Refused:
    return Refused(f"the address cannot be used: {shortened(_reason(error))}", final=True)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
