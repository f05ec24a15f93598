"""What a master needs of a store to know whom to let in."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from podling.core.token import Token
from podling.core.value import value
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten


@value
class StoredToken:
    """The secret itself is kept nowhere."""

    token: Token
    secret_hash: str


@value
class TokenChanges:
    """`version` grows with every write, and no write is ever seen under an older one."""

    version: int
    tokens: tuple[StoredToken, ...]


Decide = Callable[[Sequence[StoredToken]], StoredToken]


class Tokens(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached in time."""

    async def changed_since(self, version: int) -> TokenChanges:
        """Return the tokens that were written after `version`; all of them after 0."""

    async def write(self, decide: Decide) -> StoredToken:
        """Add or replace the token that `decide` makes of all there are; no other write comes between.

        What `decide` raises is raised, and nothing is written. Masters are told (`Store.listen`).
        """

    async def forget_ended(self, before: datetime, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        """Remove tokens that were revoked or expired before then; never the last one of all.

        After `seconds` the rest is left for another call.
        """
