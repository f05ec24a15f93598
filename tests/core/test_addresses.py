"""Where requests that others asked for may go."""

import pytest

from podling.core.addresses import is_listed, is_public

PUBLIC = [
    "93.184.216.34",
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82f::200e",
    "::ffff:8.8.8.8",
]
NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.8.9.1", "::1"],
    "this host": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1", "fec0::1"],
    "shared": ["100.64.0.1", "100.100.100.200"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "clouds' own": ["168.63.129.16", "fd00:ec2::254", "192.0.0.192"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "broadcast and reserved": ["255.255.255.255", "240.0.0.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"],
    "benchmarks": ["198.18.0.1"],
    "IPv4 inside IPv6": [
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
    ],
    "tunnels": ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.88.99.1"],
    "none at all": ["", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "1.2.3.4.5"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [address for found in NOT_PUBLIC.values() for address in found],
    ids=lambda text: text or "empty",
)
def test_all_others_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("host", "port", "pattern", "listed"),
    [
        ("hooks.example.org", 443, "hooks.example.org", True),
        ("HOOKS.example.org.", 443, "hooks.EXAMPLE.org", True),
        ("a.hooks.example.org", 443, "hooks.example.org", False),
        ("a.example.org", 443, "*.example.org", True),
        ("a.b.example.org", 443, "*.example.org", True),
        ("example.org", 443, "*.example.org", False),
        ("evilexample.org", 443, "*.example.org", False),
        ("example.org.evil.test", 443, "*.example.org", False),
        ("10.0.0.1", 8080, "10.0.0.1:8080", True),
        ("10.0.0.1", 8081, "10.0.0.1:8080", False),
        ("10.0.0.1", 8081, "10.0.0.1", True),
        ("::1", 80, "[::1]", True),
        ("::1", 80, "[::1]:80", True),
        ("::1", 81, "[::1]:80", False),
        ("127.0.0.1", 80, "localhost", False),
    ],
)
def test_patterns(host: str, port: int, pattern: str, listed: bool) -> None:
    assert is_listed(host, port, [pattern]) is listed
    assert not is_listed(host, port, [])
