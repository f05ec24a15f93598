"""Programs that agree by locks, and attempts that save how far they are, through masters that die.

A holder may stand still for longer than its lock lives, and write then: what it writes to remembers the
greatest token. Attempts go on to speak after their end, as containers do that a worker has not stopped yet.
"""

import random
from functools import partial
from typing import Any

from podling.coordination.locks import HeldLock
from podling.core.coordination import Checkpoint
from podling.core.protocol import AttemptKey
from podling.master.operations import checkpoints
from podling.wire.checkpoints import CheckpointWish
from tests.sim.clients import Clients, Operation
from tests.sim.ledger import Ledger
from tests.sim.lock_laws import LockLaws
from tests.sim.loop import SimulatedLoop

KEYS = ("tasks:a", "tasks:b")
CONTENDERS = 4
TTLS = (0.5, 2.0, 8.0)
MOST_STALL_SECONDS = 12.0
MOST_REMEMBERED = 5  # tokens of each contender


class Stock:
    """What is written to under a lock, and takes nothing with a smaller token than the last."""

    def __init__(self, laws: LockLaws) -> None:
        self._laws = laws
        self._newest: dict[str, int] = {}

    def write(self, key: str, token: int) -> None:
        if token >= self._newest.get(key, 0):
            self._newest[key] = token
            self._laws.wrote(key, token)


class Coordinators:
    """`act` does one thing at random."""

    def __init__(
        self, clients: Clients, ledger: Ledger, loop: SimulatedLoop, laws: LockLaws, seed: str
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._loop = loop
        self._laws = laws
        self._chance = random.Random(f"{seed} coordinators")
        self._stock = Stock(laws)
        self._tokens: dict[tuple[str, str], list[int]] = {}

    def act(self) -> None:
        if self._chance.random() < 0.6:
            self._agree(f"program-{self._chance.randrange(CONTENDERS)}")
        elif self._ledger.latest:
            run = self._chance.choice(self._ledger.latest)
            self._speak(AttemptKey(task_id=run.task_id, attempt=run.attempt))

    # Locks

    def _agree(self, owner: str, attempt: AttemptKey | None = None) -> None:
        key = self._chance.choice(KEYS)
        tokens = self._tokens.setdefault((owner, key), [])
        dice = self._chance.random()
        if not tokens or dice < 0.3:
            operation = partial(_acquire, key=key, ttl=self._chance.choice(TTLS), owner=owner)
            then = partial(self._acquired, key, tokens)
            self._clients.ask(f"{owner} acquires {key}", _checked(operation, attempt), then)
        elif dice < 0.7:
            self._use(key, owner, self._chance.choice(tokens), attempt)
        elif dice < 0.72:
            self._clients.ask(f"{key} is freed", partial(_force_release, key=key))
        else:
            self._write(key, self._chance.choice(tokens))

    def _use(self, key: str, owner: str, token: int, attempt: AttemptKey | None) -> None:
        """Extend or release it with a token of now or of before."""
        if self._chance.random() < 0.5:
            ttl = self._chance.choice(TTLS)
            what, operation = "extends", partial(_extend, key=key, token=token, ttl=ttl)
        else:
            what, operation = "releases", partial(_release, key=key, token=token)
        self._clients.ask(f"{owner} {what} {key} with {token}", _checked(operation, attempt))

    def _acquired(self, key: str, tokens: list[int], answer: Any) -> None:
        if isinstance(answer, HeldLock):
            tokens.append(answer.token)
            del tokens[:-MOST_REMEMBERED]
            self._write(key, answer.token)

    def _write(self, key: str, token: int) -> None:
        stall = self._chance.random() * self._chance.choice((0.1, MOST_STALL_SECONDS))
        self._loop.later(stall, self._stock.write, key, token)

    # Attempts

    def _speak(self, key: AttemptKey) -> None:
        name, dice = f"{key.task_id}/{key.attempt}", self._chance.random()
        if dice < 0.5:
            progress = self._chance.choice((None, 50.0))
            wish = CheckpointWish(data=str(dice), progress=progress)
            self._clients.ask(f"{name} saves", partial(checkpoints.save, key=key, wish=wish), self._saved)
        elif dice < 0.75:
            operation = partial(checkpoints.newest, task_id=key.task_id, limit=1)
            then = partial(self._read, key.task_id, self._laws.last_of(key.task_id))
            self._clients.ask(f"{name} reads", operation, then)
        else:
            self._agree(name, key)

    def _saved(self, answer: Any) -> None:
        if isinstance(answer, Checkpoint):
            self._laws.acknowledged(answer)

    def _read(self, task_id: str, at_least: int, answer: Any) -> None:
        if not isinstance(answer, Exception):
            self._laws.read(task_id, at_least, answer[0].sequence if answer else 0)


def _checked(operation: Operation, attempt: AttemptKey | None) -> Operation:
    """Have a master let in only an attempt that is live, if it is one that asks."""
    if attempt is None:
        return operation

    async def checked(context: Any) -> Any:
        await checkpoints.check_live(context, attempt)
        return await operation(context)

    return checked


async def _acquire(context: Any, key: str, ttl: float, owner: str) -> Any:
    return await context.coordination.locks.acquire(key, ttl, owner)


async def _extend(context: Any, key: str, token: int, ttl: float) -> Any:
    return await context.coordination.locks.extend_by_token(key, token, ttl)


async def _release(context: Any, key: str, token: int) -> Any:
    return await context.coordination.locks.release(key, token)


async def _force_release(context: Any, key: str) -> Any:
    return await context.coordination.locks.force_release(key)
