"""Whom a connection trusts, and in a sentence why it came to nothing."""

import hashlib
import ssl
from pathlib import Path

from podling.core.errors import ConfigurationError

_EXPIRED, _NOT_YET_VALID, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64
_PLAIN_HTTP = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_HUNG_UP = "it hung up without an answer"


def trusting(
    authority: Path | str | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return what a client connects with.

    `authority` is a file of certificates, or such a text itself, besides which nobody is trusted;
    None: whom this machine trusts. `certificate` and `key` are shown to a master that asks for them.
    Raises ConfigurationError.
    """
    context = _context_of(authority)
    if certificate is not None:
        load_certificate(context, certificate, key, "--tls-cert and --tls-key")
    return context


def _context_of(authority: Path | str | None) -> ssl.SSLContext:
    if not isinstance(authority, Path):
        return ssl.create_default_context(cadata=authority)
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError:
        reason = "it holds no certificate in PEM"
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigurationError(f"--tls-ca (PODLING_TLS_CA): {authority} cannot be used: {reason}")


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None, flags: str) -> None:
    """Have the context show a certificate. Raises ConfigurationError, which names the flags."""
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{flags} cannot be used: {error}") from None


def trusting_anybody() -> ssl.SSLContext:
    """Return what a client connects with only to fetch a certificate that it knows by fingerprint."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint_of(certificate: str) -> str:
    """Return the SHA-256 of a certificate in PEM, as `openssl x509 -fingerprint` counts it.

    Raises ValueError for what is none.
    """
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def reason_of(error: BaseException) -> str | None:
    """Return why no connection came about and what to do, if it is a matter of TLS."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _about_certificate(cause)
    if isinstance(cause, ssl.SSLError) and cause.reason in _PLAIN_HTTP:
        return "it speaks http and not https there: write http:// in its address"
    if isinstance(cause, ssl.SSLError):
        return f"no encrypted connection could be made: {cause.reason or cause}"
    return None


def _about_certificate(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case code if code in (_EXPIRED, _NOT_YET_VALID):
            when = "has expired" if code == _EXPIRED else "is not valid yet"
            return f"its certificate {when}; renew it, or set this machine's clock right"
        case code if code in (_WRONG_NAME, _WRONG_ADDRESS):
            told = error.verify_message.rstrip(".")
            return f"its certificate is for another name ({told}); use a name that is in the certificate"
    return (
        "its certificate is signed by nobody who is trusted here; name the file of the authority "
        "that signed it: to a command with --tls-ca (PODLING_TLS_CA), to a client with `tls`"
    )


def hung_up(address: str, *, shown: bool = False) -> str:
    """Return what may lie behind a connection that was closed without an answer.

    `shown`: a certificate was shown to the other side.
    """
    if not address.startswith("https:"):
        return f"{_HUNG_UP}; if it speaks https, write https:// in its address"
    return f"{_HUNG_UP}; it may not accept the certificate of --tls-cert" if shown else _HUNG_UP
