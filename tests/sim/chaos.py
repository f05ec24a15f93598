"""What goes wrong in a world, and when it is well again."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from podling.core.errors import Unavailable
from tests.sim.database import HOST as DATABASE
from tests.sim.database import Database
from tests.sim.loop import SimulatedLoop
from tests.sim.network import Network
from tests.sim.programs import Program, SimulatedMaster, SimulatedWorker
from tests.sim.story import Story

MOST_CALLBACKS = 400  # until a fuse is burnt


class Chaos:
    """`strike` lets one thing go wrong; `end` has all of them pass.

    `favours` names the only strikes that there are, in a world that is after a certain fault.
    """

    def __init__(
        self,
        masters: list[SimulatedMaster],
        workers: list[SimulatedWorker],
        database: Database,
        network: Network,
        loop: SimulatedLoop,
        story: Story,
        lease_seconds: float,
        seed: str,
        favours: Sequence[str] = (),
    ) -> None:
        self._favours = [getattr(self, f"_{name}") for name in favours]
        self._masters = masters
        self._workers = workers
        self._database = database
        self._network = network
        self._loop = loop
        self._story = story
        self._lease = lease_seconds
        self._chance = random.Random(f"{seed} chaos")
        self.has_restarted = False
        database.on_caught = self._caught
        self._strikes: list[tuple[int, Callable[[], None]]] = [
            (6, lambda: self._kill(self._worker())),
            (4, lambda: self._kill(self._master())),
            (6, lambda: self._light(self._worker())),
            (6, lambda: self._light(self._master())),
            (3, lambda: self._stop(self._worker())),
            (2, lambda: self._stop(self._master())),
            (4, self._pause_worker),
            (6, lambda: self._pause(self._master())),
            (3, self._lose_power),
            (6, lambda: self._cut(self._worker().name, self._master().name)),
            (4, self._cut_off),
            (2, self._isolate),
            (5, lambda: self._cut(self._master().name, DATABASE)),
            (5, self._reset),
            (3, self._slow_network),
            (4, self._spoil_messages),
            (8, self._catch),
            (3, self._catch_blocks),
            (3, partial(self._for_a_while, database, "is_down", True)),
            (3, partial(self._for_a_while, database, "slow_seconds", 3.0)),
            (5, self._lose_replies),
            (5, self._hold_commits),
            (3, lambda: self._for_a_while(self._worker().machine, "disk_seconds", 2.0)),
            (2, self._fill_disk),
            (3, self._hang_engine),
            (3, self._jump),
            (3, self._remove_by_hand),
        ]

    def strike(self) -> None:
        if self._favours:
            self._chance.choice(self._favours)()
            return
        weights = [weight for weight, _ in self._strikes]
        (_, strike) = self._chance.choices(self._strikes, weights)[0]
        strike()

    def end(self) -> None:
        """Let everybody live and be well from now on."""
        self._network.heal_all()
        self._database.heal()
        for worker in self._workers:
            worker.machine.heal()
            worker.machine.clock.wall_offset = 0.0
        for program in [*self._masters, *self._workers]:
            program.process.fuse = None
            if isinstance(program, SimulatedMaster):
                program.clock.wall_offset = 0.0
            if program.process.paused:
                program.resume()
            self._revive(program)

    def restart_workers(self) -> None:
        for worker in self._workers:
            worker.crash()
            self._revive(worker)
        self.has_restarted = True

    # Programs

    def _worker(self) -> SimulatedWorker:
        return self._chance.choice(self._workers)

    def _master(self) -> SimulatedMaster:
        leaders = [master for master in self._masters if master.leads]
        if leaders and self._chance.random() < 0.5:
            return leaders[0]
        return self._chance.choice(self._masters)

    def _kill(self, program: Program) -> None:
        self._story.fault(f"kill -9 {program.name}")
        program.crash()

    def _kill_leader(self) -> None:
        for master in self._masters:
            if master.leads:
                self._kill(master)

    def _light(self, program: Program) -> None:
        if program.process.fuse is None:
            program.light_fuse(self._chance.randrange(1, MOST_CALLBACKS), program.crash)
            self._story.fault(f"kill -9 {program.name} after {program.process.fuse} callbacks")

    def _stop(self, program: SimulatedMaster | SimulatedWorker) -> None:
        self._story.fault(f"SIGTERM {program.name}")
        program.stop()

    def _pause(self, program: Program) -> None:
        if program.process.fuse is None:
            callbacks, seconds = self._chance.randrange(1, MOST_CALLBACKS), self._while()
            self._story.fault(f"SIGSTOP {program.name} for {seconds:.1f} s after {callbacks} callbacks")
            program.light_fuse(callbacks, partial(self._pause_now, program, seconds))

    def _pause_worker(self) -> None:
        self._pause(self._worker())

    def _pause_now(self, program: Program, seconds: float) -> None:
        program.pause()
        self._loop.later(seconds, self._resume, program)

    def _resume(self, program: Program) -> None:
        if program.process.paused:
            self._story.fault(f"SIGCONT {program.name}")
            program.resume()

    def _lose_power(self) -> None:
        worker = self._worker()
        loses_disk = self._chance.random() < 0.15
        self._story.fault(f"{worker.name} loses its power" + (" and its disk" if loses_disk else ""))
        worker.crash()
        self._network.power(worker.name, on=False)
        worker.machine.lose_power()
        if loses_disk:
            worker.machine.lose_disk()

    def watch_over(self) -> None:
        """Start again, sooner or later, who has died; as init does."""
        for program in [*self._masters, *self._workers]:
            if not program.process.alive and self._chance.random() < 0.25:
                self._revive(program)

    def _revive(self, program: Program) -> None:
        if program.process.alive:
            return
        self._network.power(program.name, on=True)
        self._story.tell("starts", program=program.name)
        program.start()

    # Network and database

    def _while(self) -> float:
        return self._chance.choice((0.2, 0.5, 1.0, 1.5, 2.5)) * self._lease * (0.7 + self._chance.random())

    def _isolate(self) -> None:
        """Cut a worker off from everybody for longer than its lease."""
        worker, seconds = self._worker().name, (1.2 + self._chance.random()) * self._lease
        self._story.fault(f"{worker} is isolated for {seconds:.1f} s")
        for master in self._masters:
            for source, target in ((worker, master.name), (master.name, worker)):
                self._network.cut(source, target)
                self._loop.later(seconds, self._network.heal, source, target)

    def _catch(self) -> None:
        """Have a call that only a leader may make arrive when it must not have any effect any more."""
        names = ("commit", "commit", "save_node", "mark_lost", "take_leadership")
        self._database.catches.add(self._chance.choice(names))

    def _catch_marks(self) -> None:
        self._database.catches.add("mark_lost")

    def _catch_blocks(self) -> None:
        self._database.catches |= {"block", "unblock"}

    def _catch_nodes(self) -> None:
        self._database.catches.add("save_node")

    def _caught(self, host: str) -> None:
        """Who asks stands still as a rule: until another one leads, if it does so for long enough."""
        master = next(one for one in self._masters if one.name == host)
        if self._chance.random() < 0.8 and master.runs:
            seconds = (1.0 + self._chance.random()) * self._lease
            self._story.fault(f"SIGSTOP {host} for {seconds:.1f} s")
            self._pause_now(master, seconds)

    def _cut(self, one: str, other: str, seconds: float | None = None) -> None:
        ways = self._chance.choice((((one, other), (other, one)), ((one, other),), ((other, one),)))
        seconds = self._while() if seconds is None else seconds
        self._story.fault(f"cut {' and '.join(map(' -> '.join, ways))} for {seconds:.1f} s")
        for source, target in ways:
            self._network.cut(source, target)
            self._loop.later(seconds, self._network.heal, source, target)

    def _cut_off(self) -> None:
        worker, seconds = self._worker(), self._while()
        for master in self._masters:
            self._cut(worker.name, master.name, seconds)

    def _reset(self) -> None:
        worker = self._worker()
        self._story.fault(f"a connection of {worker.name} is reset")
        self._network.reset_one(worker.name)

    def _slow_network(self) -> None:
        self._for_a_while(self._network, "slow_seconds", 0.7)

    def _spoil_messages(self) -> None:
        self._for_a_while(self._network, "mishaps", 0.1)

    def _for_a_while(self, part: Any, name: str, value: Any) -> None:
        seconds = self._while()
        whose = f"{type(part).__name__} {getattr(part, 'name', '')}"
        self._story.fault(f"{whose} {name}={value} for {seconds:.1f} s")
        well = type(value)()
        setattr(part, name, value)
        self._loop.later(seconds, setattr, part, name, well)

    def _lose_replies(self) -> None:
        self._for_a_while(self._database, "breaks", 0.2)

    def _hold_commits(self) -> None:
        self._for_a_while(self._database, "stuck_seconds", 2.5 * self._lease)

    # Machines

    def _fill_disk(self) -> None:
        machine, seconds = self._worker().machine, self._while()
        self._story.fault(f"the disk of {machine.name} is full for {seconds:.1f} s")
        machine.problem = Unavailable("the disk is full", code="disk_full")
        self._loop.later(seconds, setattr, machine, "problem", None)

    def _hang_engine(self) -> None:
        worker = self._worker()
        self._for_a_while(worker.machine, "hangs", 0.3)

    def _jump(self) -> None:
        program: Any = self._chance.choice([*self._masters, *self._workers])
        clock = program.clock if isinstance(program, SimulatedMaster) else program.machine.clock
        hours = self._chance.choice((-20.0, -1.0, 1.0, 3.0))
        self._story.fault(f"the clock of {program.name} jumps {hours:g} hours")
        clock.wall_offset += hours * 3600
        self._loop.later(self._while(), self._jump_back, clock)

    @staticmethod
    def _jump_back(clock: Any) -> None:
        clock.wall_offset = 0.0

    def _remove_by_hand(self) -> None:
        """Of containers; nobody can take a process out of its keeper's books."""
        machine = self._worker().machine
        running = [
            one for one in machine.containers.values() if one.run is not None and one.runtime == "docker"
        ]
        if running:
            container = self._chance.choice(running)
            self._story.fault(f"somebody removes {container.found.container_id} on {machine.name}")
            machine.remove(container.found.container_id, by_hand=True)
