"""Those who submit, cancel and ask, repeating what was not answered."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from podling.core.errors import IdempotencyMismatch, InvalidInput, Unavailable
from podling.core.spec import (
    ContainerSpec,
    Delivery,
    OnDisconnect,
    OnLost,
    ResourceRequirements,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskKind,
    TaskSpec,
)
from podling.master.operations import nodes, tasks
from podling.store.base import TaskQuery
from tests.sim.laws import Laws
from tests.sim.loop import SimulatedLoop
from tests.sim.network import Network
from tests.sim.programs import SimulatedMaster
from tests.sim.story import Story

HOST = "client"
PATIENCE_SECONDS = 6.0
FOR_EVER = 100_000.0

_LOSSES = (
    (OnLost.RETRY, OnDisconnect.STOP),
    (OnLost.RETRY, OnDisconnect.STOP),
    (OnLost.FAIL, OnDisconnect.STOP),
    (OnLost.FAIL, OnDisconnect.KEEP),
    (OnLost.HOLD, OnDisconnect.STOP),
    (OnLost.HOLD, OnDisconnect.KEEP),
)

Operation = Callable[[Any], Awaitable[Any]]


class Clients:
    """`act` does one thing at random; `keys` are the submits that still wait for an answer."""

    def __init__(
        self,
        masters: list[SimulatedMaster],
        node_ids: list[str],
        loop: SimulatedLoop,
        network: Network,
        story: Story,
        laws: Laws,
        seed: str,
    ) -> None:
        self.unanswered: dict[str, TaskSpec] = {}
        self.submitted = 0
        self._masters = masters
        self._node_ids = node_ids
        self._loop = loop
        self._network = network
        self._story = story
        self._laws = laws
        self._chance = random.Random(f"{seed} clients")
        self._accepted: list[tuple[str, TaskSpec]] = []

    def act(self) -> None:
        ids = [task_id for task_id, _ in self._accepted[-30:]]
        dice = self._chance.random()
        if dice < 0.6 or not ids:
            self._submit_new()
        elif dice < 0.7:
            self.cancel(self._chance.choice(ids))
        elif dice < 0.78:
            self.retry(self._chance.choice(ids))
        elif dice < 0.86:
            self._ask("list", partial(tasks.list_, query=TaskQuery(limit=20)))
        elif dice < 0.92:
            self._ask("explain", partial(tasks.explain_task, task_id=self._chance.choice(ids)))
        elif dice < 0.96:
            self.cordon(self._chance.choice(self._node_ids), self._chance.random() < 0.4)
        else:
            self._misuse_a_key()

    # Submits

    def _submit_new(self) -> None:
        self.submitted += 1
        key = f"key-{self.submitted}"
        spec = replace(_random_spec(self._chance), idempotency_key=key)
        self.unanswered[key] = spec
        for _ in range(2 if self._chance.random() < 0.1 else 1):
            self._submit(key)

    def _submit(self, key: str) -> None:
        spec = self.unanswered.get(key)
        if spec is not None:
            self._ask(f"submit {key}", partial(tasks.submit, spec=spec), partial(self._answered, key, spec))

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
        self._ask("misuse", partial(tasks.submit, spec=other), partial(self._misused, task_id))

    def _misused(self, task_id: str, answer: Any) -> None:
        if not isinstance(answer, IdempotencyMismatch | Unavailable | OSError):
            self._story.violation("I2", f"the key of {task_id} with another body got {answer!r}")

    # All else

    def cancel(self, task_id: str) -> None:
        self._ask(f"cancel {task_id}", partial(tasks.cancel, task_id=task_id))

    def retry(self, task_id: str) -> None:
        self._ask(f"retry {task_id}", partial(tasks.retry, task_id=task_id))

    def cordon(self, node_id: str, cordoned: bool) -> None:
        operation = partial(nodes.cordon, node_id=node_id, cordoned=cordoned)
        self._ask(f"cordon {node_id} {cordoned}", operation)

    def endless(self) -> list[str]:
        """Return the accepted tasks that end only when they are told to."""
        return [
            task_id
            for task_id, spec in self._accepted
            if spec.restart_policy is not RestartPolicy.NEVER
            or any(float(one.env["SIM_SECONDS"]) >= FOR_EVER for one in spec.containers)
        ]

    def _ask(
        self, what: str, operation: Operation, then: Callable[[Any], None] = lambda answer: None
    ) -> None:
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


def _random_spec(chance: random.Random) -> TaskSpec:
    runtime = chance.choice((Runtime.DOCKER, Runtime.PROCESS))
    on_lost, on_disconnect = chance.choice(_LOSSES)
    delivery = Delivery.AT_MOST_ONCE if chance.random() < 0.25 else Delivery.AT_LEAST_ONCE
    restart = RestartPolicy.NEVER
    if delivery is Delivery.AT_LEAST_ONCE and chance.random() < 0.15:
        restart = chance.choice((RestartPolicy.ON_FAILURE, RestartPolicy.ALWAYS))
    names = ("main", "side") if runtime is Runtime.DOCKER and chance.random() < 0.15 else ("main",)
    return TaskSpec(
        name="job",
        containers=tuple(_random_container(chance, runtime, name) for name in names),
        kind=TaskKind.POD if len(names) > 1 else TaskKind.TASK,
        runtime=runtime,
        restart_policy=restart,
        priority=chance.choice((0, 0, 0, 5)),
        max_attempts=chance.choice((1, 2, 3)),
        max_losses=chance.choice((0, 2, 5)),
        retry=RetryPolicy(base_seconds=chance.choice((0.2, 1.0, 3.0))),
        timeout_seconds=chance.choice((None, None, None, 4.0)),
        queue_timeout_seconds=chance.choice((None, None, None, 20.0)),
        deadline_seconds=chance.choice((None, None, None, 30.0)),
        delivery=delivery,
        on_lost=on_lost,
        on_disconnect=on_disconnect,
    )


def _random_container(chance: random.Random, runtime: Runtime, name: str) -> ContainerSpec:
    seconds = FOR_EVER if chance.random() < 0.05 else chance.expovariate(1 / 4.0)
    env = {
        "SIM_SECONDS": f"{seconds:.3f}",
        "SIM_EXITS": chance.choice(("0", "0", "0", "1,0", "1,1,0", "3")),
    }
    if chance.random() < 0.1:
        env["SIM_STUBBORN"] = "yes"
    return ContainerSpec(
        name=name,
        image="busybox:local" if runtime is Runtime.DOCKER else None,
        command=("work",),
        env=env,
        resources=ResourceRequirements(requests={"cpu": chance.choice((100, 500, 1000))}),
        stop_grace_seconds=chance.choice((0.5, 2.0, 10.0)),
    )
