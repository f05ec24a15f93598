"""Becomes a node for a join token, once; afterwards keeps the credential young."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from ssl import SSLContext

import aiohttp

from podling.client import AsyncClient, authority
from podling.client.call import Call, JsonObject
from podling.client.joining import join as join_call
from podling.core.errors import ConfigurationError, Unauthorized
from podling.core.joining import JoinToken
from podling.kit.clock import Clock
from podling.kit.tls import trusting_anybody
from podling.kit.wakeup import Wakeup
from podling.wire.credentials import NO_TOKEN_EXISTS, headers_of
from podling.worker.credential import NodeCredential, keep_authority

JOIN_SECONDS = 60.0
CHECK_SECONDS = 3600.0
AGAIN_SECONDS = 60.0
NEWS_SECONDS = (0.5, 1.0, 2.0)  # until what one master has written is known to the others
POST_SECONDS = 10.0

_log = logging.getLogger(__name__)


async def learn_authority(folder: Path, urls: str, fingerprint: str | None) -> None:
    """Find the authority with that fingerprint, and trust it from now on; without one, none of an
    earlier cluster.

    Raises ConfigurationError, Unavailable, InvalidInput if it cannot be kept.
    """
    certificate = None
    if fingerprint is not None:
        async with AsyncClient(urls, tls=trusting_anybody()) as client:
            certificate = await client.perform(authority.find(client.link, fingerprint))
    keep_authority(folder, certificate)


async def join(
    credential: NodeCredential, token: JoinToken, node_id: str, urls: str, tls: SSLContext, clock: Clock
) -> None:
    """Get the node a credential of its own; what a crash or a lost reply leaves, the next try finishes.

    Raises the typed error of a refusal, Unavailable if no master answers for a minute.
    """
    secret_hash = credential.begin(node_id, token.secret)
    async with AsyncClient(urls, token=token.secret, tls=tls) as client:
        await _send(client, join_call(node_id, secret_hash).patient(JOIN_SECONDS))
    credential.finish(clock.now().timestamp())
    _log.info("node %s has joined", node_id)


async def _send(client: AsyncClient, call: Call[JsonObject]) -> None:
    """A token that was made at another master a moment ago may be unknown at this one."""
    for pause in NEWS_SECONDS:
        try:
            await client.send(call)
            return
        except Unauthorized as error:
            if error.code not in ("unknown_token", NO_TOKEN_EXISTS):
                raise
        await asyncio.sleep(pause)
    await client.send(call)


class Renewal:
    """`run_once` renews the credential when it is due, at the master that the worker is connected to."""

    def __init__(
        self,
        credential: NodeCredential,
        http: aiohttp.ClientSession,
        master_url: Callable[[], str | None],
        clock: Clock,
    ) -> None:
        self.wakeup = Wakeup()
        self._credential = credential
        self._http = http
        self._master_url = master_url
        self._clock = clock

    async def run_once(self) -> float | None:
        left = self._credential.seconds_left(self._clock.now().timestamp())
        url = self._master_url()
        if left > 0 or url is None:
            return left or None
        problem = await self._ask(url)
        if problem is not None:
            _log.warning("the credential of this node cannot be renewed yet, it holds on: %s", problem)
            return AGAIN_SECONDS
        secret = self._credential.finish(self._clock.now().timestamp())
        self._http.headers.update(headers_of(secret))
        _log.info("the credential of this node is renewed")
        return None

    async def _ask(self, url: str) -> str | None:
        """Have the next secret accepted; return what is in the way."""
        body = {"secretHash": self._credential.begin_next()}
        address = f"{url}/api/v1/nodes/{self._credential.node_id}/credential"
        try:
            async with asyncio.timeout(POST_SECONDS), self._http.post(address, json=body) as answer:
                return None if answer.status == 201 else (await answer.text())[:500]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__


def refuse_strange(credential: NodeCredential, node_id: str) -> None:
    """Raise ConfigurationError if the credential in the data directory is of another node."""
    if credential.secret is not None and credential.node_id != node_id:
        raise ConfigurationError(
            f"the credential in the data directory is of node {credential.node_id}, not of {node_id}: leave "
            "--node-id out, give this node a --data-dir of its own, or join anew with --join"
        )
