"""Those who submit, cancel and ask, repeating what was not answered."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from podling.core.access import LOCAL
from podling.core.errors import IdempotencyMismatch, InvalidInput, Unavailable
from podling.core.spec import Dependency, TaskSpec, When
from podling.core.task import Task
from podling.master.operations import tasks
from podling.master.operations.admission import Entry
from podling.store.base import TaskQuery
from tests.sim.laws import Laws
from tests.sim.loop import SimulatedLoop
from tests.sim.network import Network
from tests.sim.programs import SimulatedMaster
from tests.sim.specs import filling, random_spec, short_spec
from tests.sim.story import Story

HOST = "client"
ENTRY = Entry(actor=LOCAL)
PATIENCE_SECONDS = 6.0
Operation = Callable[[Any], Awaitable[Any]]


class Clients:
    """`act` does one thing at random; `keys` are the submits that still wait for an answer."""

    def __init__(
        self,
        masters: list[SimulatedMaster],
        loop: SimulatedLoop,
        network: Network,
        story: Story,
        laws: Laws,
        seed: str,
    ) -> None:
        self.unanswered: dict[str, TaskSpec] = {}
        self.submitted = 0
        self.crowds = False  # every second task takes a machine for itself
        self.graphs = False  # some tasks wait for others
        self._masters = masters
        self._loop = loop
        self._network = network
        self._story = story
        self._laws = laws
        self._chance = random.Random(f"{seed} clients")
        self._links = random.Random(f"{seed} links")
        self._accepted: list[tuple[str, TaskSpec]] = []

    def act(self) -> None:
        ids = self.latest()
        dice = self._chance.random()
        if dice < 0.6 or not ids:
            spec = random_spec(self._chance)
            spec = filling(spec) if self.crowds and self.submitted % 2 else spec
            self._submit_new(self._linked(spec, ids) if self.graphs else spec)
        elif dice < 0.7:
            self.cancel(self._chance.choice(ids))
        elif dice < 0.78:
            self.retry(self._chance.choice(ids))
        elif dice < 0.86:
            self.ask("list", partial(tasks.list_, query=TaskQuery(limit=20)))
        elif dice < 0.94:
            self.ask("explain", partial(tasks.explain_task, task_id=self._chance.choice(ids)))
        else:
            self._misuse_a_key()

    def latest(self) -> list[str]:
        """Return the ids of the tasks that were accepted last."""
        return [task_id for task_id, _ in self._accepted[-30:]]

    def submit_some(self, count: int) -> None:
        """Submit work that ends by itself, and soon."""
        for _ in range(count):
            self._submit_new(short_spec())

    # Submits

    def _submit_new(self, spec: TaskSpec) -> None:
        self.submitted += 1
        key = f"key-{self.submitted}"
        spec = replace(spec, idempotency_key=key)
        self.unanswered[key] = spec
        for _ in range(2 if self._chance.random() < 0.1 else 1):
            self._submit(key)

    def _linked(self, spec: TaskSpec, ids: list[str]) -> TaskSpec:
        """Have it wait for one or two of these tasks, or for none."""
        chosen = self._links.sample(ids, min(len(ids), self._links.choice((0, 0, 1, 2))))
        links = (Dependency(task_id=each, when=self._links.choice(list(When))) for each in chosen)
        return replace(spec, depends_on=tuple(links))

    def _submit(self, key: str) -> None:
        spec = self.unanswered.get(key)
        if spec is not None:
            self.ask(
                f"submit {key}",
                partial(tasks.submit, spec=spec, entry=ENTRY),
                partial(self._answered, key, spec),
            )

    def _answered(self, key: str, spec: TaskSpec, answer: Any) -> None:
        if isinstance(answer, tuple):
            task_id = answer[0].task_id
            self._laws.accepted(key, task_id)
            if self.unanswered.pop(key, None) is not None:
                self._accepted.append((task_id, spec))
        elif isinstance(answer, InvalidInput | IdempotencyMismatch):
            self._story.violation("I2", f"{key} was refused: {answer.message}")
        else:
            self._loop.later(0.2 + self._chance.random() * 3, self._submit, key)

    def _misuse_a_key(self) -> None:
        task_id, spec = self._chance.choice(self._accepted)
        other = replace(spec, name="another body")
        self.ask("misuse", partial(tasks.submit, spec=other, entry=ENTRY), partial(self._misused, task_id))

    def _misused(self, task_id: str, answer: Any) -> None:
        if not isinstance(answer, IdempotencyMismatch | Unavailable | OSError):
            self._story.violation("I2", f"the key of {task_id} with another body got {answer!r}")

    # All else

    def replay(self, task_id: str) -> None:
        operation = partial(tasks.replay, task_id=task_id, queue=None, run_at=None, actor=LOCAL)
        self.ask(f"replay {task_id}", operation, self._replayed)

    def _replayed(self, answer: Any) -> None:
        if isinstance(answer, Task):
            self._laws.replays.append(answer.task_id)

    def cancel(self, task_id: str) -> None:
        self.ask(f"cancel {task_id}", partial(tasks.cancel, task_id=task_id))

    def retry(self, task_id: str) -> None:
        self.ask(f"retry {task_id}", partial(tasks.retry, task_id=task_id))

    def ask(self, what: str, operation: Operation, then: Callable[[Any], None] = lambda answer: None) -> None:
        """Send it to some master; `then` gets the answer, an error, or TimeoutError."""
        master = self._chance.choice(self._masters)
        self._story.tell("client", asks=what, master=master.name)
        call = _Call(self._loop, then)
        self._network.post(
            HOST, master.name, master.handle, operation, partial(self._reply, master.name, call)
        )

    def _reply(self, host: str, call: "_Call", answer: Any) -> None:
        self._network.post(host, HOST, call.settle, answer)


class _Call:
    """Settled by its answer or by its deadline, whichever comes first."""

    def __init__(self, loop: SimulatedLoop, then: Callable[[Any], None]) -> None:
        self._then: Callable[[Any], None] | None = then
        loop.later(PATIENCE_SECONDS, self.settle, TimeoutError("no answer"))

    def settle(self, answer: Any) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(answer)
