"""Whom this master lets in: the stored tokens, known without asking the store at each request."""

import asyncio
import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from podling.core.access import LOCAL, SHARED, Principal, Role
from podling.core.errors import Unauthorized
from podling.core.task_credential import is_signed, node_key, read_claim
from podling.core.token import Token, hash_secret, make_secret
from podling.kit.clock import Clock
from podling.store.ports.tokens import StoredToken, TokenChanges, Tokens
from podling.wire.credentials import NO_TOKEN_EXISTS

CREDENTIAL_ENDED = "the token that this was begun with has ended"
"""What the task is told that is ended for it."""

_OPEN_DOOR = ""  # in place of a token's id
_HOW = "an admin makes tokens with podling token create"


class Credentials:
    """`run_once` learns what was made and revoked at other masters; what was, here, is known at once.

    A credential that nobody knows costs one SHA-256 and one look into a table: guessing burdens no
    database.
    """

    def __init__(self, tokens: Tokens, clock: Clock, shared: str | None) -> None:
        self._tokens = tokens
        self._clock = clock
        self._shared_hash = None if shared is None else hash_secret(shared)
        self._version = 0
        self._by_hash: dict[str, StoredToken] = {}
        self._by_id: dict[str, str] = {}
        self._lent: dict[str, Principal] = {}
        self._task_key: bytes | None = None
        self._streams: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    @property
    def is_open(self) -> bool:
        """Whether there is no token at all, so that this machine's users need none."""
        return self._shared_hash is None and not self._by_hash

    @property
    def has_shared(self) -> bool:
        return self._shared_hash is not None

    def use_task_key(self, key: bytes) -> None:
        """Know the attempts' credentials that are made with this key."""
        self._task_key = key

    def key_of_node(self, node_id: str) -> bytes | None:
        """Return what the node makes its attempts' credentials with."""
        return None if self._task_key is None else node_key(self._task_key, node_id)

    def identify(self, secret: str | None) -> Principal:
        """Return whose credential it is; of an attempt's, whether that is live is not known yet.

        Raises Unauthorized.
        """
        if secret is None:
            if self.is_open:
                return LOCAL
            raise Unauthorized(
                "this master wants a token: send Authorization: Bearer TOKEN, or use --token-file"
            )
        if (inside := self._attempt(secret)) is not None:
            return inside
        found = hash_secret(secret)
        if (lent := self._lent.get(found)) is not None:
            return lent
        if self.is_open:
            raise no_token_exists()
        if self._shared_hash is not None and hmac.compare_digest(found, self._shared_hash):
            return SHARED
        stored = self._by_hash.get(found)
        if stored is None or not hmac.compare_digest(found, stored.secret_hash):
            raise Unauthorized(f"no such token: {_HOW}", code="unknown_token")
        return _principal(self._checked(stored.token))

    def _attempt(self, secret: str) -> Principal | None:
        claim = read_claim(secret)
        if claim is None or self._task_key is None or not is_signed(claim, self._task_key):
            return None
        return Principal(
            name=f"attempt {claim.key.attempt} of task {claim.key.task_id}",
            roles=frozenset({Role.TASK}),
            attempt=claim.key,
        )

    def _checked(self, token: Token) -> Token:
        if token.revoked_at is not None:
            raise Unauthorized(f"the token {token.name} was revoked; {_HOW}", code="revoked_token")
        if token.has_expired(self._clock.now()):
            raise Unauthorized(f"the token {token.name} has expired; {_HOW}", code="expired_token")
        return token

    @contextmanager
    def lending(self, node_id: str, draw_bits: Callable[[int], int]) -> Iterator[str]:
        """Yield a secret that is good for this node's own routes at this master, and for as long as this.

        A session that was begun without a token goes on when there is one, and what belongs to it too.
        """
        secret = make_secret(Role.WORKER, draw_bits)
        key = hash_secret(secret)
        self._lent[key] = Principal(
            name=f"the session of {node_id}", roles=frozenset({Role.WORKER}), node_id=node_id
        )
        try:
            yield secret
        finally:
            del self._lent[key]

    @contextmanager
    def reading(self, principal: Principal) -> Iterator[None]:
        """End the running task when the token that it was begun with ends, or with the first token of all."""
        reader = asyncio.current_task()
        token_id = _OPEN_DOOR if principal is LOCAL else principal.token_id
        if reader is None or token_id is None:
            yield
            return
        self._streams[token_id].add(reader)
        try:
            yield
        finally:
            self._streams[token_id].discard(reader)
            if not self._streams[token_id]:
                del self._streams[token_id]

    async def load(self) -> None:
        """Learn all tokens anew. Raises StoreUnavailable."""
        self._replace(await self._tokens.changed_since(0))

    async def run_once(self) -> float | None:
        """Learn what has changed, and end what goes on with a token that has ended."""
        changes = await self._tokens.changed_since(self._version)
        if changes.version < self._version:
            await self.load()  # the store was restored from a backup
        else:
            self._version = changes.version
            self.put(*changes.tokens)
        self.end_streams()
        return None

    def put(self, *changed: StoredToken) -> None:
        """Know these from now on as they are.

        A token that was revoked stays so, for what was read of the store may be older than that.
        """
        for stored in changed:
            if stored.token.revoked_at is None and self._is_revoked(stored.token.token_id):
                continue
            if (old_hash := self._by_id.get(stored.token.token_id)) != stored.secret_hash:
                self._by_hash.pop(old_hash or "", None)
            self._by_hash[stored.secret_hash] = stored
            self._by_id[stored.token.token_id] = stored.secret_hash

    def _is_revoked(self, token_id: str) -> bool:
        known = self._by_hash.get(self._by_id.get(token_id, ""))
        return known is not None and known.token.revoked_at is not None

    def _replace(self, known: TokenChanges) -> None:
        self._version = known.version
        self._by_hash, self._by_id = {}, {}
        self.put(*known.tokens)

    def end_streams(self) -> None:
        """End what goes on with a token that was revoked or has expired, or with none where one is wanted."""
        now = self._clock.now()
        for token_id, readers in self._streams.items():
            if not self._is_live(token_id, now):
                _cancel(readers)

    def _is_live(self, token_id: str, now: datetime) -> bool:
        if token_id == _OPEN_DOOR:
            return self.is_open
        stored = self._by_hash.get(self._by_id.get(token_id, ""))
        return stored is not None and stored.token.is_live(now)


def no_token_exists() -> Unauthorized:
    """Return the refusal of any credential by a master that has none to compare it with."""
    return Unauthorized(
        "this master knows no token, so none that is sent is valid; it serves its own machine without one: "
        "leave the token out (--token-file, PODLING_TOKEN), or make the first one with podling token create "
        "NAME. On the memory store a restart forgets all tokens",
        code=NO_TOKEN_EXISTS,
    )


def _cancel(readers: Iterable[asyncio.Task[Any]]) -> None:
    for reader in readers:
        reader.cancel(CREDENTIAL_ENDED)


def _principal(token: Token) -> Principal:
    return Principal(
        name=token.name, roles=frozenset({token.role}), node_id=token.node_id, token_id=token.token_id
    )
