"""The database: the real store in memory, behind connections that are late, break, and lose replies.

What it has committed stays, whatever happens to it. A request takes effect at one moment, which may
come after whoever asked has given up.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

from podling.core.errors import PodlingError, StoreUnavailable
from podling.store.base import Store
from tests.sim.call import Call
from tests.sim.laws import Laws
from tests.sim.lock_laws import LockLaws
from tests.sim.loop import SimulatedLoop, run_at_once
from tests.sim.network import Network
from tests.sim.story import Story

_PARTS = frozenset(
    "alerts audit coordination dead_letters decisions dependencies inbox lines queues schedules"
    " submit_counts task_keys tokens workflows".split()
) | {f"coordination.{name}" for name in "breakers cache checkpoints idempotency locks".split()}

HOST = "db"
ANSWER_SECONDS = 5.0
MOST_CAUGHT_SECONDS = 40.0


class Database:
    """`store` is what it holds."""

    def __init__(
        self,
        store: Store,
        loop: SimulatedLoop,
        network: Network,
        story: Story,
        laws: Laws,
        lock_laws: LockLaws,
        seed: str,
    ) -> None:
        self.store: Any = store
        self.is_down = False
        self.slow_seconds = 0.0
        self.stuck_seconds = 0.0  # how long some commits are on their way; most have been given up by then
        self.breaks = 0.0  # the share of requests whose connection breaks, before or after the effect
        self.is_deaf = False  # no hint arrives anywhere
        self.catches: set[str] = set()  # of these, the next fenced call comes at the worst moment
        self.on_caught: Callable[[str], None] = lambda host: None
        self._caught: list[Call] = []
        self._loop = loop
        self._network = network
        self._story = story
        self._laws = laws
        self._lock_laws = lock_laws
        self._chance = random.Random(f"{seed} database")
        self._listeners: dict[str, Callable[[], None]] = {}

    def heal(self) -> None:
        self.is_down = False
        self.slow_seconds = self.stuck_seconds = self.breaks = 0.0
        self.catches.clear()
        for call in tuple(self._caught):
            self._let_through(call)

    def request(self, call: Call) -> None:
        """Begin a call that came over the wire."""
        if call.is_fenced and call.name in self.catches:
            self._catch(call)
            return
        wait = self._chance.random() * 0.002 + self._chance.random() * self.slow_seconds
        if call.name == "commit" and self.stuck_seconds and self._chance.random() < 0.2:
            wait += self._chance.random() * self.stuck_seconds
            self._story.fault(f"a commit of {call.host} arrives {wait:.1f} s late")
        self._loop.later(wait, self._take, call)

    def _catch(self, call: Call) -> None:
        """Hold it up until it must not have any effect: another one leads, or the node has beaten."""
        self.catches.discard(call.name)
        self._story.fault(f"{call.name} of {call.host} comes at the worst moment")
        self._caught.append(call)
        self._loop.later(MOST_CAUGHT_SECONDS, self._let_through, call)
        self.on_caught(call.host)

    def _let_through(self, call: Call) -> None:
        if call in self._caught:
            self._caught.remove(call)
            self._loop.later(self._chance.random() * 0.02, self._take, call)

    def _release(self, by: Call, answer: Any) -> None:
        for call in tuple(self._caught):
            if _overtakes(by, answer, call):
                self._let_through(call)

    def _take(self, call: Call) -> None:
        broken = StoreUnavailable("the connection to the database broke")
        fate = self._chance.random()
        if self.is_down or fate < self.breaks / 2:
            self._reply(call, broken)
            return
        answer = self._carry_out(call)
        if fate < self.breaks:
            self._story.fault(f"{call.host} does not hear what became of {call.name}")
            answer = broken if self._chance.random() < 0.7 else None
            if answer is None:
                return
        self._reply(call, answer)

    def _carry_out(self, call: Call) -> Any:
        self._story.tell("store", host=call.host, call=call.name)
        before = self._before(call)
        try:
            answer = run_at_once(attrgetter(call.name)(self.store)(*call.arguments, **call.named))
        except PodlingError as error:
            return error
        self._laws.observe(call, before, answer)
        self._lock_laws.observe(call, answer)
        self._release(call, answer)
        if call.name in ("commit", "post", "resign_leadership", "tokens.write"):
            self._hint()
        return (answer,)

    def _before(self, call: Call) -> Mapping[str, Any]:
        """Return what is there of that which the call may change: tasks, or the node."""
        found: Mapping[str, Any] = {}
        if call.name == "save_node":
            node = run_at_once(self.store.load_node(call.arguments[0].node_id))
            found = {} if node is None else {node.node_id: node}
        elif call.name == "commit":
            writes = call.arguments[0].tasks
            found = run_at_once(self.store.load_tasks([write.task.task_id for write in writes]))
        return found

    def _reply(self, call: Call, answer: Any) -> None:
        self._network.post(HOST, call.host, _settle, call.future, answer)

    def _hint(self) -> None:
        for host, tell in self._listeners.items():
            if not self.is_deaf and self._chance.random() > 0.05:
                self._network.post(HOST, host, tell)

    def listen(self, host: str, tell: Callable[[], None]) -> None:
        self._listeners[host] = tell


def _overtakes(by: Call, answer: Any, call: Call) -> bool:
    """Whether what has just been carried out is what the call must not come after."""
    match by.name:
        case "take_leadership":
            return answer is not None
        case "beat":
            return call.name == "mark_lost" and call.arguments[0] in answer
        case "open_session":
            return call.name == "save_node" and call.arguments[0].node_id == by.arguments[0].node_id
    return False


def _settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, PodlingError):
        future.set_exception(answer)
    else:
        future.set_result(answer[0])


class Connection:
    """One master's view of the database: the port `Store`."""

    kind = "postgres"

    def __init__(self, database: Database, network: Network, host: str) -> None:
        self._database = database
        self._network = network
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return _Part(self, name) if name in _PARTS else partial(self._call, name)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def listen(
        self, on_hint: Callable[[], None], on_call: Callable[[], None], on_inbox: Callable[[], None]
    ) -> None:
        hinted = asyncio.Event()
        self._database.listen(self._host, hinted.set)
        while True:
            on_hint()
            on_call()
            on_inbox()
            await hinted.wait()
            hinted.clear()

    async def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent = tuple(_copied(one) for one in arguments)
        call = Call(self._host, name, sent, named, future)
        self._network.post(self._host, HOST, self._database.request, call)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise StoreUnavailable("the database does not answer") from None


class _Part:
    """The port of one aggregate, behind the same connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def __getattr__(self, name: str) -> Any:
        whole = f"{self._name}.{name}"
        return _Part(self._connection, whole) if whole in _PARTS else partial(self._connection._call, whole)


def _copied(argument: Any) -> Any:
    """What is sent is what was there at that moment."""
    if isinstance(argument, dict):
        return dict(argument)
    return list(argument) if isinstance(argument, list) else argument
