"""Whether this worker is a node by a credential of its own, and whom it trusts."""

import secrets
from ssl import SSLContext
from typing import TYPE_CHECKING

from podling.boot.settings import WorkerSettings

if TYPE_CHECKING:
    from podling.kit.clock import Clock
    from podling.worker.credential import NodeCredential
    from podling.worker.datadir import DataDirectory


async def credential_of(
    settings: WorkerSettings, directory: "DataDirectory", node_id: str, clock: "Clock"
) -> "NodeCredential | None":
    """Return the node's credential; with `--join`, got for that token if it was not already.

    Raises ConfigurationError, InvalidInput, Unavailable, and the error of a refusal.
    """
    from podling.worker.credential import NodeCredential
    from podling.worker.joining import join, learn_authority, refuse_strange

    if settings.token is not None:
        return None
    credential = NodeCredential.at(directory.path, node_id, secrets.randbits)
    if settings.join is None or credential.was_made_with(settings.join.secret):
        refuse_strange(credential, node_id)
        return None if credential.secret is None else credential
    urls = ",".join(settings.master_urls)
    if settings.tls_ca is None:
        await learn_authority(directory.path, urls, settings.join.fingerprint)
    await join(credential, settings.join, node_id, urls, trust_of(settings, directory), clock)
    return credential


def trust_of(settings: WorkerSettings, directory: "DataDirectory") -> SSLContext:
    """Return what the worker connects with. Raises ConfigurationError."""
    from podling.kit.tls import trusting
    from podling.worker.credential import known_authority

    authority = settings.tls_ca or known_authority(directory.path)
    return trusting(authority, settings.tls_cert, settings.tls_key)
