"""The agent with its hands: gives it events, and has its instructions carried out. It decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from podling.core.agent import AgentState, step
from podling.core.agent_attempt import Held
from podling.core.agent_events import Event, Moment, Restored, Seen, Swept, Timer, TimerFired, Vanished
from podling.core.protocol import AttemptKey
from podling.kit.clock import Clock
from podling.kit.wakeup import Wakeup
from podling.worker.admission import Admission
from podling.worker.answer import answer
from podling.worker.gpus import Gpus
from podling.worker.hands import Hands
from podling.worker.journal import AttemptJournal
from podling.worker.kept_lease import Lease
from podling.worker.runtime.base import ContainerWork, Found, Gone, Runtime
from podling.worker.seen import news_of, seen_from
from podling.worker.spans import Spans
from podling.worker.timers import Timers

SaveLog = Callable[[AttemptKey], Awaitable[None]]
Give = Callable[[ContainerWork, str], Awaitable[ContainerWork]]  # by the runtime's name


class Shell:
    """`state` is the agent's; `sending` wakes whoever sends the outbox."""

    def __init__(
        self,
        *,
        cluster_id: str,
        runtimes: Mapping[str, Runtime],
        journal: AttemptJournal,
        clock: Clock,
        admission: Admission,
        gpus: Gpus | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.runtimes = runtimes
        self.clock = clock
        self.admission = admission
        self.gpus = gpus or Gpus()
        self.sending = Wakeup()
        self.spans = Spans()
        self.timers = Timers(clock, self._time_has_come)
        self.save_logs: SaveLog = _save_nothing
        self.give: Give = _give_nothing  # what an attempt speaks to its cluster with
        self.state = AgentState(
            runtimes=frozenset(runtimes),
            exact_runtimes=frozenset(name for name, one in runtimes.items() if one.knows_every_start),
        )
        self._journal = journal
        self._hands = Hands(self, journal)
        self._owners: dict[str, Runtime] = {}
        self._answers: list[Event] = []
        self._changed = asyncio.Event()
        self._early: list[Found | Gone] | None = []

    async def open(self, kept_lease: Callable[[], Lease] = lambda: (None, None)) -> None:
        """Open the runtimes, and take over what they and the journal have. Raises RuntimeFailure.

        `kept_lease` is asked afterwards for the lease's seconds, and when its renewal was asked for.
        """
        rows = self._journal.rows()  # nothing writes yet
        for runtime in self.runtimes.values():
            await runtime.open(self._observe)
        seen = await self._inventory()
        lease_seconds, lease_sent_at = kept_lease()
        self.feed(
            Restored(
                rows=rows,
                seen=seen,
                lease_seconds=lease_seconds,
                lease_sent_at=lease_sent_at,
            )
        )
        early, self._early = self._early or [], None
        for told in early:
            self._observe(told)

    async def close(self) -> None:
        """Stop carrying out instructions; containers go on."""
        self._answers.clear()
        self.timers.close()
        await self._hands.close()
        for runtime in self.runtimes.values():
            await runtime.close()

    def feed(self, *events: Event) -> None:
        """Give the agent events, after the answers that wait, and begin whatever follows."""
        answers, self._answers = self._answers, []
        now = Moment(monotonic=self.clock.monotonic(), wall=self.clock.now())
        self.state, instructions = step(self.state, (*answers, *events), now)
        self._hands.carry_out(instructions)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def answer(self, event: Event) -> None:
        """Give the agent an event, in one step with all that come in this turn of the loop."""
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._feed_answers)
        self._answers.append(event)

    def _feed_answers(self) -> None:
        if self._answers:
            self.feed()

    def _time_has_come(self, timer: Timer) -> None:
        self.feed(TimerFired(timer=timer))

    async def changed(self) -> None:
        """Return after the next event."""
        await self._changed.wait()

    def held(self, key: AttemptKey) -> Held | None:
        return self.state.attempts.get(key)

    def has_ended(self, key: AttemptKey) -> bool:
        return (held := self.held(key)) is None or held.final is not None

    def latest(self, task_id: str) -> Held | None:
        """Return the newest attempt of a task that is here."""
        found = [held for key, held in self.state.attempts.items() if key.task_id == task_id]
        return max(found, key=lambda held: held.key.attempt, default=None)

    async def sweep(self) -> None:
        """Remove what is this worker's and nobody knows. Raises RuntimeFailure."""
        self._hands.forget_again()
        self.feed(Swept(seen=await self._inventory()))

    async def check(self) -> str | None:
        """Return why no work should come here at the moment; None if all is well."""
        for name, runtime in self.runtimes.items():
            if (problem := await runtime.check()) is not None:
                return f"{name}: {problem}"
        return self._journal.problem

    # What the runtimes tell

    def _observe(self, told: Found | Gone) -> None:
        if self._early is not None:
            self._early.append(told)
        elif isinstance(told, Found):
            self.answer(news_of(told))
        else:
            key = AttemptKey(task_id=told.task_id, attempt=told.attempt)
            self.answer(Vanished(key=key, container=told.container_name))

    async def _inventory(self) -> tuple[Seen, ...]:
        found: list[Found] = []
        self._owners.clear()
        for runtime in self.runtimes.values():
            there = await answer(runtime.inventory())
            self._owners |= {one.container_id: runtime for one in there}
            found += there
        self.gpus.adopt(found)
        return tuple(seen_from(one) for one in found)

    # Names

    def runtime(self, key: AttemptKey) -> Runtime:
        """Return the runtime of an attempt that is here."""
        return self.runtimes[self.state.attempts[key].assignment.spec.runtime]

    def runtime_of(self, held: Held) -> Runtime | None:
        """Return the runtime that has the attempt's containers, if this worker has it."""
        return self.runtimes.get(held.assignment.spec.runtime)

    def owner_of(self, seen: Seen) -> Runtime:
        """Return the runtime in whose inventory this was found."""
        return self._owners[seen.container_id]


async def _save_nothing(key: AttemptKey) -> None:
    """A worker whose logs nobody keeps."""


async def _give_nothing(work: ContainerWork, runtime: str) -> ContainerWork:
    """A worker whose attempts have nobody to speak to."""
    return work
