"""An authority of one's own: made once, kept, and never a silent second one."""

import shutil
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podling.core.errors import ConfigurationError
from podling.kit.authority import AUTHORITY_DAYS, CERTIFICATE_DAYS, RENEW_DAYS, Authority, authority_of
from podling.kit.tls import fingerprint_of

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_key_and_certificate_are_made_once_and_read_by_their_owner_alone(tmp_path: Path) -> None:
    path, own = tmp_path / "authority.pem", tmp_path / "master.pem"
    first = Authority.at(path, NOW)
    first.keep_certificate(own, ["localhost", "127.0.0.1"], NOW)
    kept = own.read_bytes()
    again = Authority.at(path, NOW + timedelta(days=100))
    again.keep_certificate(own, ["127.0.0.1"], NOW + timedelta(days=100))
    assert again.pem == first.pem
    assert own.read_bytes() == kept
    assert {file.stat().st_mode & 0o777 for file in (path, own)} == {0o600}
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(own)


@pytest.mark.parametrize(
    ("names", "after"),
    [
        (["localhost", "new.example"], timedelta()),
        (["localhost"], timedelta(days=CERTIFICATE_DAYS - RENEW_DAYS + 1)),
    ],
    ids=["another name", "its last years"],
)
def test_a_certificate_that_will_not_do_is_made_anew_by_the_same_authority(
    names: list[str], after: timedelta, tmp_path: Path
) -> None:
    own = tmp_path / "master.pem"
    authority = Authority.at(tmp_path / "authority.pem", NOW)
    authority.keep_certificate(own, ["localhost"], NOW)
    before = own.read_text()
    authority.keep_certificate(own, names, NOW + after)
    assert own.read_text() != before
    assert authority_of(own.read_text()) == authority.pem  # whoever trusted it still does


def test_masters_that_share_an_authority_have_certificates_of_their_own(tmp_path: Path) -> None:
    first = Authority.at(tmp_path / "one.pem", NOW)
    shutil.copy(tmp_path / "one.pem", tmp_path / "two.pem")
    second = Authority.at(tmp_path / "two.pem", NOW)
    assert fingerprint_of(second.pem) == fingerprint_of(first.pem)


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    own = tmp_path / "master.pem"
    Authority.at(tmp_path / "old.pem", NOW).keep_certificate(own, ["localhost"], NOW)
    authority = Authority.at(tmp_path / "new.pem", NOW)
    authority.keep_certificate(own, ["localhost"], NOW)
    assert authority_of(own.read_text()) == authority.pem


def other_key(path: Path) -> bytes:
    """Return the file with a key that does not belong to its certificate."""
    Authority.at(path.with_name("other.pem"), NOW)
    key = path.with_name("other.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    return key + b"".join(path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[1:])


@pytest.mark.parametrize(
    "damaged",
    [lambda path: b"", lambda path: b"\xff\xfe\x00", lambda path: path.read_bytes()[:100], other_key],
    ids=["empty", "garbage", "cut", "another key"],
)
def test_a_damaged_file_is_told_and_not_replaced(damaged: Callable[[Path], bytes], tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    Authority.at(path, NOW)
    left = damaged(path)
    path.write_bytes(left)
    with pytest.raises(ConfigurationError, match=r"authority.pem does not hold the key and certificate"):
        Authority.at(path, NOW)
    assert path.read_bytes() == left


def test_it_outlives_what_it_signs() -> None:
    assert AUTHORITY_DAYS > CERTIFICATE_DAYS > RENEW_DAYS


@pytest.mark.parametrize(
    "chain", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_chain_has_no_authority(chain: str) -> None:
    assert authority_of(chain) is None
