"""Whom a master says that one has to trust, believed only if its fingerprint is known already."""

import re

from podling.client.blocking import Client
from podling.client.call import Call, get, path_of, text
from podling.client.program import Link, Program, exchange
from podling.core.errors import ConfigurationError, NotFound
from podling.kit.tls import fingerprint_of, trusting_anybody

_FINGERPRINT = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.ASCII | re.IGNORECASE)


def read() -> Call[str]:
    """The certificate, in PEM, of the authority that signed the master's own."""
    return get(path_of("ca.pem"), text)


def read_fingerprint(given: str) -> str:
    """Return a SHA-256 as 64 digits, however it is written. Raises ConfigurationError."""
    found = _FINGERPRINT.fullmatch(given.strip())
    if found is None:
        raise ConfigurationError(
            f"{given[:100]!r} is not a fingerprint; it has 64 hexadecimal digits, as "
            "`openssl x509 -noout -fingerprint -sha256 -in ca.pem` prints them"
        )
    return found[1].replace(":", "").lower()


def find(link: Link, fingerprint: str) -> Program[str]:
    """Return the authority's certificate, over a link that trusts anybody. Raises ConfigurationError."""
    plain = [address for address in link.addresses if not address.startswith("https:")]
    if plain:
        raise ConfigurationError(
            f"a fingerprint proves nothing about {plain[0]}, which is not encrypted; write https://"
        )
    try:
        certificate = yield from exchange(link, read())
    except NotFound:
        raise ConfigurationError(
            "the master does not know who signed its certificate, so no fingerprint of that can be "
            "compared; name the file of the authority with --tls-ca"
        ) from None
    if _fingerprint(certificate) != fingerprint:
        raise ConfigurationError(
            f"{link.addresses[0]} is not the master whose fingerprint was given: it may be another one, or "
            "somebody in between; nothing was sent there"
        )
    return certificate


def authority_of(url: str, fingerprint: str) -> str:
    """Return the certificate with this fingerprint, asked of the masters at `url`.

    Raises ConfigurationError, Unavailable.
    """
    client = Client(url, tls=trusting_anybody())
    return client.perform(find(client.link, read_fingerprint(fingerprint)))


def _fingerprint(certificate: str) -> str | None:
    try:
        return fingerprint_of(certificate)
    except ValueError:
        return None
