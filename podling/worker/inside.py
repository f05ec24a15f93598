"""What an attempt is given to speak to its cluster: an address and a credential; without a network, a socket.

The credential is made here, from the node's key, when a container is made: nothing is written for it
anywhere, and no master is asked. Everything else that an attempt may say goes through `Door`.
"""

import asyncio
import errno
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import Protocol, runtime_checkable

import aiohttp
import orjson

from podling.core.agent_attempt import Held
from podling.core.errors import RuntimeFailure, StaleAttempt, Unauthorized
from podling.core.permissions import Policy, TaskTokenPlace
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.core.spec import Runtime as RuntimeName
from podling.core.task_credential import is_made_with, make_credential, read_claim
from podling.core.value import value
from podling.worker.door import MOST_CONNECTIONS, Door
from podling.worker.journal import AttemptJournal, WriteMeta
from podling.worker.runtime.base import ContainerWork, Given, Runtime, Speech

API, TOKEN, TOKEN_FILE = "PODLING_API", "PODLING_TOKEN", "PODLING_TOKEN_FILE"
SOCKET = "PODLING_SOCKET"
MOUNTED_AT = "/run/podling"
AUTO, OFF = "auto", "off"
MOST_FORMER_KEYS = 4
NO_NETWORK = "none"
_SOCKET_NAME, _TOKEN_NAME = "api.sock", "token"
_SOCKET_API = "http+unix://" + f"{MOUNTED_AT}/{_SOCKET_NAME}".replace("/", "%2F") + "/api/v1"
_META = "door"

_log = logging.getLogger(__name__)


@runtime_checkable
class ReachesThisMachine(Protocol):
    """A runtime whose containers can reach this machine."""

    async def machine_host(self) -> str | None:
        """Return the address by which they do; None if they do not. Raises RuntimeFailure."""


@runtime_checkable
class Speaks(Protocol):
    """A runtime whose attempts share processes, so that it gives each of them what to speak with itself."""

    def speak_by(self, speech: Speech) -> None:
        """Use this from now on."""


@value
class DoorOptions:
    """`host` is where containers reach this machine, `auto` what the engine says, `off`: nothing is given.

    `port` is tried first; once it has one, a worker keeps it.
    """

    host: str = AUTO
    port: int = 0


class KeptDoor:
    """What outlives the worker's program: the port, which containers know, and the node's key.

    `former` are the keys before, the last one first: a restore gives the cluster another one, and containers
    run on with what they were given.
    """

    def __init__(self, journal: AttemptJournal) -> None:
        self._journal = journal
        kept = orjson.loads(journal.meta(_META) or "{}")
        self.port: int | None = kept.get("port")
        self.key: bytes | None = bytes.fromhex(kept["key"]) if kept.get("key") else None
        self.former = tuple(bytes.fromhex(key) for key in kept.get("former", ()))

    def keep(self, *, port: int | None = None, key: bytes | None = None) -> None:
        """Know these from now on, if they are new."""
        if port in (None, self.port) and key in (None, self.key):
            return
        if self.key is not None and key not in (None, self.key):
            self.former = (self.key, *self.former)[:MOST_FORMER_KEYS]
        self.port, self.key = port or self.port, key or self.key
        self._write()

    def forget_key(self) -> None:
        """Hold none: it was another cluster's. Addresses stay what they are."""
        self.key, self.former = None, ()
        self._write()

    def _write(self) -> None:
        kept: dict[str, object] = {
            "port": self.port,
            "key": None if self.key is None else self.key.hex(),
            "former": [key.hex() for key in self.former],
        }
        self._journal.write_later(WriteMeta(name=_META, value=orjson.dumps(kept).decode()))


class Inside:
    """`held` tells what this worker has of an attempt; `policy` is the one in force."""

    def __init__(
        self,
        node_id: str,
        directory: Path,
        options: DoorOptions,
        kept: KeptDoor,
        held: Callable[[AttemptKey], Held | None],
        policy: Callable[[], Policy],
    ) -> None:
        self._node_id = node_id
        self._directory = directory
        self._options = options
        self._kept = kept
        self._held = held
        self._policy = policy
        self._door: Door | None = None
        self._hosts: dict[str, str] = {}
        self._ready = asyncio.Event()
        self._speaking: Mapping[str, Speaks] = {}

    async def open(self, door: Door, runtimes: Mapping[str, Runtime], held: Iterable[Held]) -> None:
        """Begin to listen, for those that run already too. What cannot be had is logged, and not given."""
        try:
            if self._options.host != OFF:
                await door.open()
                self._door = door
                await self._listen(door, await self._hosts_of(runtimes))
                await self._resume(door, held)
                self._speaking = {name: one for name, one in runtimes.items() if isinstance(one, Speaks)}
                self._tell()
        finally:
            self._ready.set()

    async def _hosts_of(self, runtimes: Mapping[str, Runtime]) -> dict[str, str]:
        found = {}
        for name, runtime in runtimes.items():
            if not isinstance(runtime, ReachesThisMachine):
                continue
            chosen = self._options.host if name == RuntimeName.DOCKER else AUTO
            host = await runtime.machine_host() if chosen == AUTO else chosen
            if host is not None:
                found[name] = host
        return found

    async def _listen(self, door: Door, hosts: Mapping[str, str]) -> None:
        """Take one port at all addresses: the one that running containers know, if it can be had."""
        port = self._kept.port or self._options.port
        for name, host in hosts.items():
            if host in self._hosts.values():
                self._hosts[name] = host
            elif (taken := await self._listen_at(door, host, port)) is not None:
                self._hosts[name], port = host, taken
        if self._hosts:
            self._kept.keep(port=port)

    async def _listen_at(self, door: Door, host: str, port: int) -> int | None:
        try:
            return await door.listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not port:
                _log.warning("tasks cannot reach this worker at %s: %s", host, error.strerror or error)
                return None
        taken = await self._listen_at(door, host, 0)
        if port == self._kept.port:
            _log.warning("port %d at %s is in use: attempts that run cannot speak any more", port, host)
        return taken

    async def _resume(self, door: Door, held: Iterable[Held]) -> None:
        for one in held:
            if one.final is None and (directory := self._directory_of(one.key)).is_dir():
                await self._let_in(door, one.key, directory)

    def learn_key(self, key: str | None) -> None:
        """Make credentials with this one from now on."""
        if key is not None:
            self._kept.keep(key=bytes.fromhex(key))
            self._tell()

    def _tell(self) -> None:
        if self._kept.key is None:
            return
        for name, runtime in self._speaking.items():
            if (host := self._hosts.get(name)) is not None:
                speech = Speech(api=self._api(host), node_id=self._node_id, key=self._kept.key.hex())
                runtime.speak_by(speech)

    def _api(self, host: str) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self._kept.port}/api/v1"

    async def given(self, work: ContainerWork, runtime: str) -> ContainerWork:
        """Return the work with what its attempt may speak with. Raises RuntimeFailure."""
        await self._ready.wait()
        key_of_node = self._kept.key
        if self._door is None or key_of_node is None or runtime in self._speaking:
            return work
        key = AttemptKey(task_id=work.task_id, attempt=work.attempt)
        secret = make_credential(key_of_node, key, self._node_id)
        given = await self._given(self._door, key, secret, runtime, work.network)
        return work if given is None else replace(work, inside=given)

    async def _given(
        self, door: Door, key: AttemptKey, secret: str, runtime: str, network: str
    ) -> Given | None:
        host = self._hosts.get(runtime)
        is_docker = runtime == RuntimeName.DOCKER
        by_socket = is_docker and (network == NO_NETWORK or host is None)
        hidden = is_docker and self._policy().task_token is TaskTokenPlace.FILE
        if by_socket:
            environment = {API: _SOCKET_API, SOCKET: f"{MOUNTED_AT}/{_SOCKET_NAME}"}
        elif host is not None:
            environment = {API: self._api(host)}
        else:
            return None
        environment |= {TOKEN_FILE: f"{MOUNTED_AT}/{_TOKEN_NAME}"} if hidden else {TOKEN: secret}
        if not (by_socket or hidden):
            return Given(environment=environment)
        directory = self._directory_of(key)
        try:
            await asyncio.to_thread(_write, directory, secret if hidden else None)
        except OSError as error:
            problem = f"The directory that the task speaks by cannot be made: {error.strerror}."
            raise RuntimeFailure(problem, code=ErrorCode.CREATE) from None
        if by_socket:
            await self._let_in(door, key, directory)
        return Given(environment=environment, directory=str(directory.resolve()), mounted_at=MOUNTED_AT)

    async def _let_in(self, door: Door, key: AttemptKey, directory: Path) -> None:
        try:
            await door.listen_for(key, directory / _SOCKET_NAME)
        except OSError as error:
            _log.warning("task %s has no socket to speak by: %s", key.task_id, error.strerror)

    def check(self, secret: str, key: AttemptKey | None) -> str:
        """See `door.Check`. What a former key has made is exchanged for what masters know now."""
        found, key_of_node = self._found(secret), self._kept.key
        if found is None or key_of_node is None or key not in (None, found):
            raise Unauthorized("this is the credential of no attempt here", code="unknown_token")
        if (held := self._held(found)) is None or held.final is not None:
            raise StaleAttempt(f"attempt {found.attempt} of task {found.task_id} has ended here")
        return make_credential(key_of_node, found, self._node_id)

    def _found(self, secret: str) -> AttemptKey | None:
        claim, key = read_claim(secret), self._kept.key
        if claim is None or key is None or claim.node_id != self._node_id:
            return None
        return claim.key if any(is_made_with(claim, one) for one in (key, *self._kept.former)) else None

    async def sweep(self) -> None:
        """Remove what attempts that have ended leave behind."""
        for directory in await asyncio.to_thread(_directories, self._directory):
            task_id, _, attempt = directory.name.rpartition("-")
            key = AttemptKey(task_id=task_id, attempt=int(attempt)) if attempt.isdecimal() else None
            held = None if key is None else self._held(key)
            if held is not None and held.final is None:
                continue
            if self._door is not None and key is not None:
                self._door.leave(key)
            await asyncio.to_thread(shutil.rmtree, directory, True)

    def _directory_of(self, key: AttemptKey) -> Path:
        return self._directory / f"{key.task_id}-{key.attempt}"


@asynccontextmanager
async def opened_door(
    tls: SSLContext | None, master: Callable[[], str | None], inside: Inside
) -> AsyncIterator[Door]:
    """Give a door that shows no credential but those of attempts, and takes no connection from the worker."""
    connector = aiohttp.TCPConnector(ssl=tls or True, limit=MOST_CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as http:
        door = Door(http, master, inside.check)
        try:
            yield door
        finally:
            await door.close()


def _write(directory: Path, secret: str | None) -> None:
    """Nobody on this machine comes into the worker's directory; in the container anybody may read it."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    if secret is not None:
        path = directory / _TOKEN_NAME
        path.write_text(secret, encoding="ascii")
        path.chmod(0o444)


def _directories(directory: Path) -> Sequence[Path]:
    with suppress(FileNotFoundError):
        return list(directory.iterdir())
    return []
