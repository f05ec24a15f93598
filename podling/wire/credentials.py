"""The credential that a request carries."""

from collections.abc import Sequence
from typing import Protocol

from podling.core.errors import Unauthorized

NO_TOKEN_EXISTS = "no_token_exists"
"""The code of the refusal of any credential by a master that has none to compare it with."""

_HOW = "send one, as Authorization: Bearer TOKEN or as X-Api-Key: TOKEN"


class Headers(Protocol):
    def getall(self, key: str, default: list[str], /) -> Sequence[str]: ...


def credential_of(headers: Headers) -> str | None:
    """Return what the request shows, by either header; None if it shows nothing.

    Raises Unauthorized for one that is empty, doubled or no bearer's, and for two that differ.
    """
    given = [*map(_bearer, headers.getall("Authorization", [])), *headers.getall("x-api-key", [])]
    if len(set(given)) > 1:
        raise Unauthorized(f"two different credentials were sent; {_HOW}", code="two_credentials")
    if given and not given[0]:
        raise Unauthorized(f"the credential is empty, or not a bearer's; {_HOW}", code="empty_credential")
    return given[0] if given else None


def headers_of(secret: str | None) -> dict[str, str]:
    """Return the headers that show a credential, if there is one."""
    return {} if secret is None else {"Authorization": f"Bearer {secret}"}


def _bearer(text: str) -> str:
    scheme, _, token = text.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
