"""What a master shows to prove who it is, and whom it asks for the same."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from ssl import CERT_OPTIONAL, PROTOCOL_TLS_SERVER, SSLContext, SSLError
from urllib.parse import urlsplit

from podling.boot.hangup import at_hangup
from podling.boot.settings import MasterSettings, WorkerSettings
from podling.core.errors import ConfigurationError
from podling.core.value import value
from podling.kit.tls import load_certificate

FOLDER = "tls"
AUTHORITY = "authority.pem"
SHOWN = "ca.pem"
_OWN = "master.pem"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY_ADDRESS = ("0.0.0.0", "::", "")


@value
class Certificates:
    """`authority`, in PEM, is whom others have to trust; None where the master does not know."""

    context: SSLContext
    authority: str | None


def certificates_of(settings: MasterSettings) -> Certificates | None:
    """Return what the settings say about TLS; None for plain http. Raises ConfigurationError."""
    if not settings.speaks_tls:
        return None
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority: str | None
    if settings.tls_self_signed:
        authority = _show_own(context, settings)
    else:
        assert settings.tls_cert is not None
        load_certificate(context, settings.tls_cert, settings.tls_key, "--tls-cert and --tls-key")
        authority = _last_of(settings.tls_cert)
    if settings.tls_client_ca is not None:
        _ask_for_certificates(context, settings.tls_client_ca)
    return Certificates(context=context, authority=authority)


@contextmanager
def reloading(
    context: SSLContext | None, settings: MasterSettings | WorkerSettings, who: str
) -> Iterator[None]:
    """Show the certificate of the files as they are at each SIGHUP; a faulty one changes nothing.

    Connections that are open stay so; those that begin afterwards are shown the new one.
    """
    if context is None or settings.tls_cert is None:
        yield
        return
    with at_hangup(partial(_reload, context, settings.tls_cert, settings.tls_key, who)):
        yield


def _reload(context: SSLContext, certificate: Path, key: Path | None, who: str) -> None:
    log = logging.getLogger(who)
    try:
        # Tried apart: a context that takes the certificate and then not the key has neither.
        for each in (SSLContext(PROTOCOL_TLS_SERVER), context):
            load_certificate(each, certificate, key, "--tls-cert and --tls-key")
    except ConfigurationError as error:
        log.error("the certificate stays as it was: %s", error.message)
        return
    log.info("the certificate is now that of %s", certificate)


def _show_own(context: SSLContext, settings: MasterSettings) -> str:
    """Make key, certificate and authority at the first start, and what is missing at later ones."""
    from podling.kit.authority import Authority
    from podling.kit.files import Draft, writing

    folder, now = settings.data_dir / FOLDER, datetime.now(UTC)
    with writing(folder):
        for made in (settings.data_dir, folder):
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority.at(folder / AUTHORITY, now)
    authority.keep_certificate(folder / _OWN, _names(settings), now)
    with Draft(folder / SHOWN, replace=True) as draft:
        draft.file.write(authority.pem.encode())
        draft.finish()
    load_certificate(context, folder / _OWN, None, "--tls-self-signed")
    return authority.pem


def _names(settings: MasterSettings) -> set[str]:
    names = {*_LOOPBACK, socket.gethostname()}
    if settings.host not in _ANY_ADDRESS:
        names.add(settings.host.strip("[]"))
    if settings.advertise_url:
        names.add(urlsplit(settings.advertise_url).hostname or "")
    return names - {""}


def _last_of(chain: Path) -> str | None:
    from podling.kit.authority import authority_of

    return authority_of(chain.read_text(encoding="utf-8", errors="replace"))


def _ask_for_certificates(context: SSLContext, authority: Path) -> None:
    """Who shows none is served all the same: the routes of workers refuse it, and no other does."""
    try:
        context.load_verify_locations(authority)
    except (OSError, SSLError) as error:
        raise ConfigurationError(
            f"--tls-client-ca (PODLING_TLS_CLIENT_CA): {authority} cannot be used: {error}"
        ) from None
    context.verify_mode = CERT_OPTIONAL
