"""Those who look after the cluster: drain, cordon and remove nodes, decide about what is held, and
send many orders at once. And what only speaks REST: nodes without a worker, and late news of attempts.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from podling.core.node import Node
from podling.core.protocol import Report, ReportKind
from podling.core.task import LIVE, Resolution, Task, TaskStatus
from podling.master.operations import nodes, removal, tasks
from podling.store.base import Store, TaskQuery
from podling.wire.nodes import Registration
from tests.sim.clients import Clients
from tests.sim.loop import run_at_once
from tests.sim.specs import is_endless
from tests.sim.story import Story

MOST_AT_ONCE = 12

Then = Callable[[Any], None]


class Operators:
    """`act` does one thing at random; `tidy` is what is done when the faults are over.

    `spared` is a node of which nothing more is said.
    """

    def __init__(self, clients: Clients, store: Store, node_ids: list[str], story: Story, seed: str) -> None:
        self.spared: str | None = None
        self._clients = clients
        self._store = store
        self._node_ids = node_ids
        self._story = story
        self._chance = random.Random(f"{seed} operators")
        self._rest_nodes: list[str] = []
        self._acts = [
            (4, self._drain),
            (3, self._cordon),
            (5, self._open),
            (4, self._resolve),
            (2, self._storm),
            (1, self._remove),
            (2, self._remove_as_lost),
            (3, self._speak_rest),
            (4, self._tell_late),
        ]

    def act(self) -> None:
        (_, act) = self._chance.choices(self._acts, [weight for weight, _ in self._acts])[0]
        act()

    def tidy(self) -> None:
        """End the endless, open what was closed, decide about what nobody comes back for."""
        for task in self.unended():
            if is_endless(task.spec):
                self._clients.cancel(task.task_id)
            elif task.status is TaskStatus.PENDING:
                self._clients.retry(task.task_id)
        for node in run_at_once(self._store.load_nodes()):
            if node.cordoned and node.node_id != self.spared:
                self._serve(node.node_id, cordoned=False)

    def unended(self) -> list[Task]:
        live = (TaskStatus.PENDING, *LIVE)
        found: list[Task] = run_at_once(self._store.list_tasks(TaskQuery(statuses=live, limit=10_000)))
        return found

    def drain(self, node_id: str, deadline_seconds: float | None, then: Then = lambda answer: None) -> None:
        operation = partial(nodes.drain, node_id=node_id, deadline_seconds=deadline_seconds)
        self._clients.ask(f"drain {node_id} {deadline_seconds}", operation, then)

    # Nodes

    def _node(self) -> str:
        return self._chance.choice(self._node_ids)

    def _drain(self) -> None:
        self.drain(self._node(), self._chance.choice((None, 0.5, 3.0)))

    def _cordon(self) -> None:
        self._serve(self._node(), cordoned=True)

    def _open(self) -> None:
        closed = [node.node_id for node in run_at_once(self._store.load_nodes()) if node.cordoned]
        if closed:
            self._serve(self._chance.choice(closed), cordoned=False)

    def _serve(self, node_id: str, *, cordoned: bool) -> None:
        operation = partial(nodes.cordon, node_id=node_id, cordoned=cordoned)
        self._clients.ask(f"cordon {node_id} {cordoned}", operation)

    def _remove(self) -> None:
        node_id = self._chance.choice([*self._node_ids, *self._rest_nodes])
        self._clients.ask(f"remove {node_id}", partial(removal.deregister, node_id=node_id))

    def _remove_as_lost(self) -> None:
        node_id, held = self._node(), self._chance.choice((None, *Resolution))
        operation = partial(removal.remove_as_lost, node_id=node_id, held=held)
        self._clients.ask(f"remove {node_id} as lost, {held}", operation)

    # Tasks

    def _resolve(self) -> None:
        """Say what became of a held attempt; sometimes of one that is not held."""
        live = [task for task in self.unended() if task.status.is_live]
        chosen = [task for task in live if task.held is not None] or live
        if chosen:
            task, outcome = self._chance.choice(chosen), self._chance.choice(tuple(Resolution))
            attempt = self._chance.choice((None, task.attempt))
            operation = partial(tasks.resolve, task_id=task.task_id, outcome=outcome, attempt=attempt)
            self._clients.ask(f"resolve {task.task_id} {outcome}", operation)

    def _storm(self) -> None:
        latest = self._clients.latest()[-MOST_AT_ONCE:]
        order = self._chance.choice((self._clients.cancel, self._clients.retry, self._clients.replay))
        if order == self._clients.replay:
            latest = [one.task_id for one in self._ended(latest)]
        self._story.fault(f"{order.__name__} of {len(latest)} tasks at once")
        for task_id in latest:
            order(task_id)

    def _ended(self, task_ids: list[str]) -> list[Task]:
        found = run_at_once(self._store.load_tasks(task_ids))
        return [task for task in found.values() if task.status.is_terminal]

    # By REST

    def _speak_rest(self) -> None:
        """Register a node that has no worker, or send its heartbeat."""
        if self._rest_nodes and self._chance.random() < 0.7:
            node_id = self._chance.choice(self._rest_nodes)
            self._clients.ask(f"heartbeat of {node_id}", partial(nodes.heartbeat, node_id=node_id))
            return
        name = self._chance.choice(("rest-1", "rest-2"))
        capacity = {"cpu": 4000, "memory": 2**30, "slots": 8}
        registration = Registration(hostname=name, port=9000, capacity=capacity, labels={})
        operation = partial(nodes.register, registration=registration)
        self._clients.ask(f"register {name}", operation, self._registered)

    def _registered(self, answer: Any) -> None:
        if isinstance(answer, Node) and answer.node_id not in self._rest_nodes:
            self._rest_nodes.append(answer.node_id)

    def _tell_late(self) -> None:
        """I8: news of an attempt that another one has followed changes nothing."""
        old = [task for task in self.unended() if task.attempt > 1 and task.status.is_live]
        if not old:
            return
        task = self._chance.choice(old)
        late = Report(
            sequence=0,
            task_id=task.task_id,
            attempt=self._chance.randrange(1, task.attempt),
            kind=self._chance.choice((ReportKind.RUNNING, ReportKind.ENDED)),
            at=task.created_at,
            exit_code=0,
        )
        operation = partial(tasks.report, task_id=task.task_id, report=late)
        self._clients.ask(f"late news of {task.task_id}/{late.attempt}", operation, self._told_late)

    def _told_late(self, answer: Any) -> None:
        if isinstance(answer, Task):
            self._story.violation("I8", f"{answer.task_id} took late news: {answer.status.value}")
