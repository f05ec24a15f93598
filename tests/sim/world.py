"""A whole cluster in one process: masters, workers, database and network under one seed."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from unittest.mock import patch

from podling.core.node import Node
from podling.master.loops import scheduler
from podling.store.memory.store import MemoryStore
from tests.sim.chaos import Chaos
from tests.sim.clients import Clients
from tests.sim.coordinators import Coordinators
from tests.sim.database import Database
from tests.sim.journal import SimulatedJournal
from tests.sim.laws import KNOWN_SECONDS, Laws
from tests.sim.ledger import Ledger
from tests.sim.lock_laws import LockLaws
from tests.sim.loop import SimulatedLoop, run_at_once
from tests.sim.machine import Machine
from tests.sim.network import Network
from tests.sim.operators import Operators
from tests.sim.producers import Producers
from tests.sim.programs import SimulatedMaster, SimulatedWorker
from tests.sim.specs import SMALLEST_MACHINE_CPU
from tests.sim.story import MachineClock, Story

MOST_SETTLE_SECONDS = 300.0
EMPTY_AFTER_SECONDS = 8.0  # a node is drained when faults are over, and what they held up has been done
EMPTY_SECONDS = (
    42.0  # until it has to be empty: what was lost is sent again after 30 s, and the longest grace
)
SHORT_TASKS = 8  # to be placed while it is drained
CALM_SECONDS = 46.0  # until workers start once more, so that they forget what a full disk kept
STRIKE_SECONDS = 2.0
LOOK_EVERY = 100  # steps, for what is seen only by looking at all of the world
MOST_SHOWN = 20
SMALL_PAGE = 2  # of waiting tasks, in a crowded world: what fits nowhere is in the way of others


class LawBroken(AssertionError):
    """The seed, the laws that it broke, and what had happened."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a world went through. `sum` is the same for the same seed and program."""

    seed: int
    steps: int
    seconds: float
    faults: int
    submitted: int
    starts: int
    commits: int
    overlaps: int
    grants: int
    sum: int


class World:
    def __init__(
        self,
        seed: int,
        *,
        store: type[MemoryStore] = MemoryStore,
        journal: type[SimulatedJournal] = SimulatedJournal,
        favours: Sequence[str] = (),
        coordinates: bool | None = None,
    ) -> None:
        self.seed = seed
        name = f"podling {seed}"
        self.chance = random.Random(name)
        self.story = Story(lambda: self.loop.time())
        self.loop = SimulatedLoop(random.Random(f"{name} order"), self._unexpected)
        self.lease = self.chance.choice((6.0, 12.0))
        self.network = Network(self.loop, random.Random(f"{name} network"), self.story)
        self.ledger = Ledger()
        self.store = store(MachineClock(self.loop.time, self.chance), cluster_id="simulated")
        self.laws = Laws(self.store, self.ledger, self.story, self.loop.time, self.lease, self._is_excused)
        self.lock_laws = LockLaws(self.store, self.story, self.loop.time)
        self.database = Database(
            self.store, self.loop, self.network, self.story, self.laws, self.lock_laws, name
        )
        self.database.is_deaf = self.chance.random() < 0.3
        surroundings = (self.loop, self.network, self.story, name)
        names = [f"m{number}" for number in range(1, self.chance.choice((2, 3)) + 1)]
        poll = self.chance.choice((1.0, 2.0))
        self.masters = [
            SimulatedMaster(one, self._clock(), self.database, self.lease, poll, *surroundings)
            for one in names
        ]
        self.workers = [
            SimulatedWorker(self._machine(number), tuple(names), self._amounts(), journal, *surroundings)
            for number in range(1, self.chance.choice((3, 4, 5)) + 1)
        ]
        self.laws.allocatable = {worker.name: worker.amounts for worker in self.workers}
        self.laws.orders = {worker.name: worker.orders for worker in self.workers}
        self.clients = Clients(self.masters, self.loop, self.network, self.story, self.laws, name)
        self.clients.crowds = "catch_blocks" in favours or random.Random(f"{name} crowds").random() < 0.3
        self.clients.graphs = random.Random(f"{name} graphs").random() < 0.3
        by_chance = random.Random(f"{name} coordinates").random() < 0.3
        self.coordinates = by_chance if coordinates is None else coordinates
        self.coordinators = Coordinators(self.clients, self.ledger, self.loop, self.lock_laws, name)
        self._page = SMALL_PAGE if self.clients.crowds else scheduler.PAGE
        node_ids = [worker.name for worker in self.workers]
        self.operators = Operators(self.clients, self.store, node_ids, self.story, name)
        self.producers = Producers(self.store, self.loop.time, self.story, self.laws, name)
        self.produces = not favours and random.Random(f"{name} sql").random() < 0.4
        self.chaos = Chaos(
            self.masters,
            self.workers,
            self.database,
            self.network,
            self.loop,
            self.story,
            self.lease,
            name,
            favours,
        )
        self.steps = 0
        self._is_chaotic = True
        self._strike_seconds = self.lease / 2 if favours else STRIKE_SECONDS

    def _clock(self) -> MachineClock:
        return MachineClock(self.loop.time, self.chance)

    def _machine(self, number: int) -> Machine:
        chance = random.Random(f"podling {self.seed} machine {number}")
        return Machine(f"w{number}", self.loop, self._clock(), chance, self.story, self.ledger)

    def _amounts(self) -> dict[str, int]:
        return {
            "cpu": self.chance.choice((SMALLEST_MACHINE_CPU, 3000)),
            "memory": 2**30,
            "slots": self.chance.choice((2, 4)),
        }

    # Running

    def run(self, steps: int) -> Outcome:
        """Live through so many steps, let the faults end and everything come to rest.

        Raises LawBroken.
        """
        heard = _Errors(self.story)
        logger = logging.getLogger("podling")
        level, propagate = logger.level, logger.propagate
        logger.addHandler(heard)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        try:
            with self.loop.running(), patch.object(scheduler, "PAGE", self._page):
                try:
                    self._live(steps)
                    self._settle()
                finally:
                    self.loop.end()
        finally:
            logger.removeHandler(heard)
            logger.setLevel(level)
            logger.propagate = propagate
        return self._outcome()

    def _live(self, steps: int) -> None:
        for program in [*self.masters, *self.workers]:
            program.start()
        self.loop.later(1.0, self._strike)
        self.loop.later(0.5, self._act)
        self.loop.later(2.0, self._look_after)
        self.loop.later(1.0, self._watch_over)
        if self.coordinates:
            self.loop.later(1.0, self._agree)
        if self.produces:
            self.loop.later(1.5, self._produce)
        while self.steps < steps:
            self._step()

    def _step(self) -> None:
        self.steps += 1
        assert self.loop.advance(), "nothing will ever happen again"
        if self.steps % LOOK_EVERY == 0:
            self._look()
        if self.story.violations:
            self._fail()

    def _strike(self) -> None:
        if self._is_chaotic:
            self.chaos.strike()
            self.loop.later(self.chance.expovariate(1 / self._strike_seconds), self._strike)

    def _act(self) -> None:
        if self._is_chaotic:
            self.clients.act()
            self.loop.later(self.chance.expovariate(1 / 0.6), self._act)

    def _look_after(self) -> None:
        if self._is_chaotic:
            self.operators.act()
            self.loop.later(self.chance.expovariate(1 / 1.5), self._look_after)

    def _agree(self) -> None:
        if self._is_chaotic:
            self.coordinators.act()
            self.loop.later(self.chance.expovariate(1 / 0.2), self._agree)

    def _produce(self) -> None:
        if self._is_chaotic:
            self.producers.act()
            self.loop.later(1.0 + self.producers.pause(), self._produce)

    def _watch_over(self) -> None:
        self.chaos.watch_over()
        self.loop.later(self.lease / 8, self._watch_over)

    def _look(self) -> None:
        leaders = [
            master
            for master in self.masters
            if master.leads and self.loop.time() - master.disturbed_at > self.lease
        ]
        if len(leaders) > 1:
            self.story.violation("I23", f"{[one.name for one in leaders]} lead at once")

    def _is_excused(self, node_id: str) -> bool:
        worker = next(one for one in self.workers if one.name == node_id)
        recently = self.loop.time() - worker.disturbed_at < self.lease * 1.5 + 3.0
        return recently or not worker.runs or worker.machine.hangs > 0

    # The end

    def _settle(self) -> None:
        self._is_chaotic = False
        self.story.tell("the faults are over")
        self.laws.calm_since = self.loop.time()
        self.chaos.end()
        until = self.loop.time() + MOST_SETTLE_SECONDS
        self._tidy()
        self.loop.later(EMPTY_AFTER_SECONDS, self._empty_one)
        self.loop.later(CALM_SECONDS, self.chaos.restart_workers)
        while self.loop.time() < until:
            self._step()
            if self.chaos.has_restarted and self.steps % LOOK_EVERY == 0 and self._is_settled():
                break
        self._check_leavings()
        self.laws.settle()
        if self.story.violations:
            self._fail()

    def _tidy(self) -> None:
        self.operators.tidy()
        self.loop.later(7.0, self._tidy)

    def _empty_one(self) -> None:
        """Drain a node, now that nothing goes wrong."""
        node_id = self.operators.spared = self.chance.choice(self.workers).name
        self._drain(node_id)
        self.loop.later(KNOWN_SECONDS + 1.0, self.clients.submit_some, SHORT_TASKS)
        self.loop.later(EMPTY_SECONDS, self._check_empty, node_id)

    def _drain(self, node_id: str) -> None:
        def repeat(answer: object) -> None:
            if not isinstance(answer, Node):
                self.loop.later(0.5, self._drain, node_id)

        self.operators.drain(node_id, 1.0, repeat)

    def _check_empty(self, node_id: str) -> None:
        """I19: nothing is left there, and it is open again after a word."""
        node = run_at_once(self.store.load_node(node_id))
        if node is None or node.drain is None:
            self.story.violation("I19", f"{node_id} was drained, and is not: {node}")
        for task in self.operators.unended():
            if task.node_id == node_id and task.held is None:
                self.story.violation("I19", f"{task.task_id} is {task.status.value} on drained {node_id}")
        for worker in self.workers:
            if worker.name == node_id:
                for container in worker.machine.containers.values():
                    if container.run is not None:
                        self.story.violation("I19", f"{container.run} runs on drained {node_id}")
        self.operators.spared = None

    def _is_settled(self) -> bool:
        return not self.clients.unanswered and not self.operators.unended() and not self._leavings()

    def _leavings(self) -> list[str]:
        """Return what workers still hold, and what masters disagree about."""
        left = [f"{key} waits for an answer" for key in self.clients.unanswered]
        left += ["something waits in the inbox"] * bool(self.producers.waiting())
        for worker in self.workers:
            machine = worker.machine
            left += [f"{worker.name} has {one.found.engine_name}" for one in machine.containers.values()]
            rows = [row.key for row in machine.disk.values() if not row.done]
            left += [f"{worker.name} has {key} in its journal" for key in rows]
            if worker.shell is None:
                left.append(f"{worker.name} does not run")
            elif worker.shell.state.attempts or worker.shell.state.outbox:
                left.append(f"{worker.name} holds {list(worker.shell.state.attempts)}")
        if sum(master.leads for master in self.masters) != 1:
            left.append(f"{[master.name for master in self.masters if master.leads]} lead")
        return left

    def _check_leavings(self) -> None:
        for left in self._leavings():
            self.story.violation("I19", f"left behind: {left}")

    def _unexpected(self, message: str, error: BaseException | None) -> None:
        self.story.violation("unexpected", f"{message}: {error!r}")

    def _outcome(self) -> Outcome:
        return Outcome(
            seed=self.seed,
            steps=self.steps,
            seconds=self.loop.time(),
            faults=self.story.faults,
            submitted=self.clients.submitted,
            starts=self.ledger.starts,
            commits=self.laws.commits,
            overlaps=self.laws.overlaps,
            grants=self.lock_laws.grants,
            sum=self.story.sum,
        )

    def _fail(self) -> None:
        broken = "\n".join(f"  {one}" for one in self.story.violations[:MOST_SHOWN])
        raise LawBroken(f"seed {self.seed}, step {self.steps}, breaks:\n{broken}\n{self.story.text()}")


class _Errors(logging.Handler):
    """What the programs log as an error is one: nothing that happens here should be unforeseen."""

    def __init__(self, story: Story) -> None:
        super().__init__(logging.ERROR)
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._story.violation("unexpected", f"{record.getMessage()}: {record.exc_info[1]!r}")
