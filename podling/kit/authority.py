"""A certificate authority of one's own, for people without one, and the certificate it signs."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podling.core.errors import ConfigurationError
from podling.kit.files import Draft

AUTHORITY_DAYS = 20 * 365
CERTIFICATE_DAYS = 5 * 365
RENEW_DAYS = 2 * 365  # made anew at a start when no more is left
CLOCKS_DAYS = 2  # valid from so long ago, for machines whose clock is behind

_ALL_USES = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


class Authority:
    """A key and the certificate that others trust; it outlives the certificates that it signs."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def at(cls, path: Path, now: datetime) -> "Authority":
        """Return the one kept in the file, made at its first use. Raises ConfigurationError, InvalidInput."""
        if path.exists():
            return cls(*_read(path))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Podling")])
        builder = _builder(name, name, key.public_key(), key.public_key(), now, AUTHORITY_DAYS)
        uses = x509.KeyUsage(**_ALL_USES | {"key_cert_sign": True, "crl_sign": True})
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.add_extension(uses, critical=True).sign(key, hashes.SHA256())
        _write(path, key, certificate)
        return cls(key, certificate)

    @property
    def pem(self) -> str:
        return _pem(self._certificate)

    def keep_certificate(self, path: Path, names: Iterable[str], now: datetime) -> None:
        """Have a key and a certificate for these names in the file; what is there stays if it will do."""
        wanted = frozenset(names)
        if path.exists() and self._will_do(_read(path)[1], wanted, now):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Podling master")])
        own = self._key.public_key()
        builder = _builder(name, self._certificate.subject, key.public_key(), own, now, CERTIFICATE_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        uses = x509.KeyUsage(**_ALL_USES | {"digital_signature": True})
        builder = builder.add_extension(uses, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        alternatives = x509.SubjectAlternativeName([_general(name) for name in sorted(wanted)])
        certificate = builder.add_extension(alternatives, critical=False).sign(self._key, hashes.SHA256())
        _write(path, key, certificate, self._certificate)

    def _will_do(self, certificate: x509.Certificate, wanted: frozenset[str], now: datetime) -> bool:
        try:
            certificate.verify_directly_issued_by(self._certificate)
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        names = {*found.get_values_for_type(x509.DNSName)}
        names |= {str(address) for address in found.get_values_for_type(x509.IPAddress)}
        return wanted <= names and certificate.not_valid_after_utc > now + timedelta(RENEW_DAYS)


def authority_of(chain: str) -> str | None:
    """Return the chain's last certificate, in PEM, if it is signed by itself: the one to be trusted."""
    try:
        last = x509.load_pem_x509_certificates(chain.encode())[-1]
    except ValueError:
        return None  # the server says so, and better, when it loads the file
    return _pem(last) if last.issuer == last.subject else None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(CLOCKS_DAYS))
        .not_valid_after(now + timedelta(days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _read(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        text = path.read_bytes()
        key = serialization.load_pem_private_key(text, None)
        certificate = x509.load_pem_x509_certificates(text)[0]
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key():
            return key, certificate
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        pass  # it holds neither
    raise ConfigurationError(
        f"{path} does not hold the key and certificate that --tls-self-signed keeps there; bring it back, "
        "or remove it: then a new one is made, and if it was the authority's, nobody trusts it yet"
    )


def _write(path: Path, key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> None:
    """Key and chain in one file, readable by its owner alone, so that they always belong together."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with Draft(path, replace=True) as draft:
        draft.file.write(secret + "".join(map(_pem, chain)).encode())
        draft.finish()
