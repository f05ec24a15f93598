"""Which addresses of the network a request that somebody else asked for may go to."""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_WELL_KNOWN_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What the registries count as public, and is none: translators, and clouds' own services.
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "64:ff9b:1::/48",
            "::/96",
            "fec0::/10",
            "2001::/23",
        ),
    )
)


def is_public(address: str) -> bool:
    """Whether an address, in the form that a resolver gives, is a machine of the public Internet.

    An IPv4 address inside of an IPv6 one counts as itself.
    """
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = _inner(given)
    if inner is not None:
        return is_public(str(inner))
    if any(given in network for network in _NEVER if network.version == given.version):
        return False
    return given.is_global and not given.is_multicast and not given.is_reserved


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _WELL_KNOWN_NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def usual_form(host: str) -> str | None:
    """Return how an address is written that stands where a name could; None for a name.

    Raises ValueError for a spelling of which resolvers make different things: `127.1`, `0x7f.1`.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise ValueError(f"{host} is a number where a name ends") from None
        return None


def port_of(url: str) -> int:
    """Return the port that a checked URL leads to."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_listed(host: str, port: int, patterns: Collection[str]) -> bool:
    """Whether a pattern names the host: `hooks.example`, `*.example` (below it), either with `:PORT`.

    An IPv6 address stands in brackets if a port follows.
    """
    name = host.lower().rstrip(".")
    return any(_fits(name, port, pattern.lower()) for pattern in patterns)


def _fits(name: str, port: int, pattern: str) -> bool:
    wanted, colon, wanted_port = pattern.rpartition(":")
    if colon and wanted_port.isdecimal() and (":" not in wanted or wanted.endswith("]")):
        if int(wanted_port) != port:
            return False
        pattern = wanted
    pattern = pattern.strip("[]")
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return name == pattern
