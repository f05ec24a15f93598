"""Both clients and a master's certificate: whom they trust, and what they say when they do not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podling.boot.master import running_master
from podling.boot.settings import read_master
from podling.client import AsyncClient, cluster
from podling.client.authority import authority_of, read_fingerprint
from podling.core.errors import ConfigurationError, Unavailable
from podling.kit.tls import fingerprint_of, trusting
from tests.certificates import TestAuthority
from tests.client.threaded import Blocking


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.fixture(params=[Blocking, AsyncClient], ids=["blocking", "asynchronous"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def serving(folder: Path, flags: Sequence[str]) -> AsyncIterator[str]:
    """Give the address of a master with these flags."""
    settings = read_master(["--port", "0", "--data-dir", str(folder / "data"), *flags], {})
    async with running_master(settings) as address:
        yield address


async def test_a_private_authority_is_trusted_when_it_is_named(
    make: Any, authority: TestAuthority, tmp_path: Path
) -> None:
    flags = authority.sign("master", "127.0.0.1").master_flags
    async with (
        serving(tmp_path, flags) as address,
        make(address, tls=trusting(authority.path)) as client,
    ):
        (master,) = (await client.send(cluster.read()))["masters"]
    assert master["advertiseUrl"] == address
    assert address.startswith("https://")


@pytest.mark.parametrize(
    ("names", "days", "trusted", "words"),
    [
        (["127.0.0.1"], 10, "other", "signed by nobody who is trusted here"),
        (["127.0.0.1"], 10, None, "signed by nobody who is trusted here"),
        (["127.0.0.1"], -2, "ca", "its certificate has expired"),
        (["else.example", "10.0.0.1"], 10, "ca", "its certificate is for another name"),
    ],
    ids=["another authority", "no authority", "expired", "another name"],
)
async def test_a_certificate_that_proves_nothing_is_told(
    make: Any,
    names: list[str],
    days: int,
    trusted: str | None,
    words: str,
    authority: TestAuthority,
    tmp_path: Path,
) -> None:
    TestAuthority(tmp_path, "other")
    flags = authority.sign("master", *names, days=days).master_flags
    tls = trusting(None if trusted is None else tmp_path / f"{trusted}.pem")
    async with serving(tmp_path, flags) as address, make(address, tls=tls) as client:
        with pytest.raises(Unavailable, match=words) as raised:
            await client.send(cluster.read())
    assert raised.value.code == "master_unreachable"
    assert "start one with" not in raised.value.message  # it runs: that is no advice


async def test_https_to_a_master_that_speaks_http_is_told(make: Any, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, []) as address,
        make(address.replace("http://", "https://")) as client,
    ):
        with pytest.raises(Unavailable, match="it speaks http and not https there: write http://"):
            await client.send(cluster.read())


async def test_http_to_a_master_that_speaks_https_is_told(
    make: Any, authority: TestAuthority, tmp_path: Path
) -> None:
    flags = authority.sign("master", "127.0.0.1").master_flags
    async with (
        serving(tmp_path, flags) as address,
        make(address.replace("https://", "http://")) as client,
    ):
        with pytest.raises(Unavailable, match="if it speaks https, write https://"):
            await client.send(cluster.read())


async def test_an_authority_is_believed_by_its_fingerprint_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, ["--tls-self-signed"]) as address:
        shown = (tmp_path / "data/tls/ca.pem").read_text()
        fingerprint = fingerprint_of(shown)
        assert await asyncio.to_thread(authority_of, address, fingerprint) == shown
        with pytest.raises(ConfigurationError, match="is not the master whose fingerprint was given"):
            await asyncio.to_thread(authority_of, address, fingerprint[::-1])
        plain = address.replace("https://", "http://")
        with pytest.raises(ConfigurationError, match="which is not encrypted; write https://"):
            await asyncio.to_thread(authority_of, plain, fingerprint)


async def test_a_chain_that_ends_in_its_authority_can_be_known_by_fingerprint(
    authority: TestAuthority, tmp_path: Path
) -> None:
    made = authority.sign("master", "127.0.0.1")
    async with serving(tmp_path, made.master_flags) as address:
        fingerprint = fingerprint_of(authority.path.read_text())
        with pytest.raises(ConfigurationError, match="does not know who signed its certificate"):
            await asyncio.to_thread(authority_of, address, fingerprint)
    made.certificate.write_text(made.certificate.read_text() + authority.path.read_text())
    async with serving(tmp_path / "again", made.master_flags) as address:
        assert await asyncio.to_thread(authority_of, address, fingerprint) == authority.path.read_text()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("ab" * 32, "ab" * 32),
        ("sha256:" + "AB" * 32, "ab" * 32),
        (":".join(["0F"] * 32) + "\n", "0f" * 32),
    ],
)
def test_a_fingerprint_may_be_written_as_openssl_does(given: str, read: str) -> None:
    assert read_fingerprint(given) == read


@pytest.mark.parametrize("given", ["", "ab", "ab" * 33, "zz" * 32, "sha1:" + "ab" * 32, "ａ" * 64])
def test_what_is_no_fingerprint_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a fingerprint; it has 64 hexadecimal digits"):
        read_fingerprint(given)


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_a_file_without_an_authority_is_one_sentence(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"--tls-ca \(PODLING_TLS_CA\): .*ca.pem cannot be used: "):
        trusting(path)
