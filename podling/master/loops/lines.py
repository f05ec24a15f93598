"""The lines of queues that are limited, and of concurrency keys: who waits in them, and who may leave."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from heapq import heappop, heappush

from podling.core.decision import delay_decision
from podling.core.queue import ALL_QUEUES
from podling.core.registries import registry_of
from podling.core.task import Task
from podling.core.traffic import KEYS, Delay, Gate, Rules, key_line
from podling.core.view import Plan
from podling.master.context import MasterContext
from podling.master.operations.queues import traffic_of

PAGE = 500
LEARN_SECONDS = 10.0
TELL_SECONDS = 10.0  # a delay that goes on is recorded again after these
MOST_TOLD = 20  # of one queue and reason in a pass
_LOOK_SECONDS = 1.0  # at those who wait in full queues
_MOST_KNOWN = 10_000


class WaitingLines:
    """What is known of them may be too much, never too little for long: the store is asked now and then.

    A queue's tasks are read from its lines as many as may start, and go from there to their nodes. Those
    whose key is in use wait in a line of their key, and are made ready when it is free again. A queue of
    which nothing may start is not looked at again before something lets it go on.
    """

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._known: dict[str, dict[str, Task]] = {}  # by queue its lines, each with one that is or was there
        self._misplaced: set[str] = set()  # lines that are none by what is said of queues now
        self._freed: dict[str, int] = {}  # keys, and how many tasks may share each
        self._keys_after: str | None = KEYS  # the lines of keys from here on are looked at; None: all were
        self._epoch: int | None = None
        self._is_stale = True
        self._learned_at = self._looked_at = 0.0
        self._served = self._shown = ""  # where the next turn through queues begins, and that through lines
        self._told: dict[tuple[str, str], float] = {}
        self._full: set[str] = set()  # queues of which nothing may start
        self._are_all_full = False
        self._opens: dict[str, datetime] = {}  # queues, by when one may start something
        self._opening: list[tuple[datetime, str]] = []

    @property
    def _rules(self) -> Rules:
        return self._context.queues.rules

    def gate(self) -> Gate:
        context = self._context
        registries = context.registries if context.registries.hold else None
        if registries is not None:
            registries.settle(lambda task_id: context.view.task(task_id) is not None)
        return Gate(self._rules, context.view.flight, context.traffic, context.clock.now(), registries)

    def forget(self) -> None:
        """Policies have changed: look at all lines anew."""
        self._is_stale = True
        self._open_all()

    def know(self, task: Task) -> bool:
        """A task is pending; return whether it waits in a line."""
        line = self._rules.line_of(task)
        if line is None:
            return False
        self._known.setdefault(task.spec.queue, {})[line] = task
        return True

    def free(self, task: Task) -> None:
        """A task that has a key has ended."""
        self._freed[task.spec.concurrency_key or ""] = self._shared_by(task)

    def free_registry(self, key: str) -> None:
        """The registry of which the key is has more room."""
        self._freed[key] = PAGE

    # When queues go on

    def is_full(self, queue: str) -> bool:
        """Whether nothing of the queue may start before something else happens."""
        return self._are_all_full or queue in self._full

    def ended(self, queue: str) -> None:
        """A task of the queue has left its node."""
        self._full.discard(queue)
        self._are_all_full = False

    def open_due(self) -> None:
        """Look again at the queues whose time has come."""
        now = self._context.clock.now()
        while self._opening and self._opening[0][0] <= now:
            at, queue = heappop(self._opening)
            if self._opens.get(queue) == at:
                del self._opens[queue]
                self.ended(queue)

    def next_at(self) -> datetime | None:
        """Return when a queue may start something."""
        return self._opening[0][0] if self._opening else None

    def look_again(self, delay: Delay) -> None:
        """Remember when the delay may end."""
        if delay.until is not None and self._opens.get(delay.queue) != delay.until:
            self._opens[delay.queue] = delay.until
            heappush(self._opening, (delay.until, delay.queue))

    def rest(self, delays: Iterable[Delay]) -> None:
        """Queues that were at a limit rest, if they shall."""
        gate = self.gate()
        for delay in {delay.queue: delay for delay in delays}.values():
            gate.rest(delay.queue)
            self.look_again(gate.limit(delay.queue) or delay)

    def _is_closed(self, gate: Gate, queue: str) -> bool:
        if gate.limit(queue) is None:
            return False
        gate.rest(queue)
        if (limit := gate.limit(queue)) is not None:
            self.look_again(limit)
        return True

    def _open_all(self) -> None:
        self._full, self._are_all_full = set(), False
        self._opens, self._opening = {}, []

    # What waits

    async def learn(self) -> None:
        """Know what the store has, and which attempts began in the last minute."""
        context, now = self._context, self._context.clock.monotonic()
        is_anew = self._is_stale or self._epoch != context.epoch
        if not is_anew and now - self._learned_at < LEARN_SECONDS:
            return
        self._is_stale, self._epoch = False, context.epoch  # what changes from here on is for the next time
        try:
            if is_anew:
                context.traffic = await traffic_of(context, self._rules.rated)
            self._take_in(await self._walk())
        except BaseException:
            self._is_stale = True
            raise
        self._keys_after, self._learned_at = KEYS, now
        self._open_all()

    def _take_in(self, found: Mapping[str, Task]) -> None:
        for line, task in found.items():
            self._known.setdefault(task.spec.queue, {})[line] = task
        lines = (item for known in self._known.values() for item in known.items())
        self._misplaced = {line for line, task in lines if self._rules.line_of(task) != line}

    async def _walk(self) -> dict[str, Task]:
        found: dict[str, Task] = {}
        after = ""
        while page := await self._context.store.lines.firsts(after, PAGE):
            found |= {line: task for line, task in page.items() if not line.startswith(KEYS)}
            after = [*page][-1]
            if after.startswith(KEYS) or len(page) < PAGE:
                break
        for task in found.values():
            self._context.view.requirement(task)
        return found

    async def recall(self) -> bool:
        """Make ready who is in a line without need; return whether there may be more of them."""
        rooms = dict.fromkeys(sorted(self._misplaced), PAGE)
        rooms |= self._free_keys() | await self._next_keys()
        if not rooms or self._context.epoch is None:
            return False
        found = await self._context.store.lines.recall(rooms, self._context.epoch)
        for line in self._misplaced.intersection(rooms):
            if found.get(line, 0) < PAGE:
                self._misplaced.discard(line)
                self._drop([line])
        for key in (line.removeprefix(KEYS) for line, count in found.items() if count >= PAGE):
            if registry_of(key) is not None:
                self.free_registry(key)
        return self._keys_after is not None or PAGE in found.values()

    def _free_keys(self) -> dict[str, int]:
        freed, self._freed = self._freed, {}
        return {key_line(key): room for key, most in freed.items() if (room := self._room_of(key, most)) > 0}

    def _shared_by(self, task: Task) -> int:
        """Return how many tasks may share the task's key, or one of any other queue."""
        return max(self._rules.most_per_key, self._rules.per_key(task.spec))

    def _room_of(self, key: str, most: int) -> int:
        if (registry := registry_of(key)) is not None:
            return self._context.registries.room(registry, PAGE)
        return most - self._context.view.flight.keys[key]

    async def _next_keys(self) -> dict[str, int]:
        """Look at some more lines of keys: those that a last leader left, or that have more room now."""
        if self._keys_after is None:
            return {}
        page = await self._context.store.lines.firsts(self._keys_after, PAGE)
        self._keys_after = [*page][-1] if len(page) == PAGE else None
        keys = {line.removeprefix(KEYS): self._shared_by(task) for line, task in page.items()}
        return {key_line(key): room for key, most in keys.items() if (room := self._room_of(key, most)) > 0}

    async def heads(self, gate: Gate) -> Sequence[Task]:
        """Return the first of every line, as many as may start now, and about PAGE at most."""
        rooms = self._rooms(gate)
        if not rooms:
            return ()
        asked = self._drop(rooms)  # what is known meanwhile stays known
        try:
            found = await self._context.store.lines.heads(rooms)
        except BaseException:
            for task in asked:
                self.know(task)
            raise
        for task in found:
            self.know(task)
        return found

    def _rooms(self, gate: Gate) -> dict[str, int]:
        queues = self._known.keys() - self._full
        self._are_all_full = bool(queues) and self._is_closed(gate, ALL_QUEUES)
        if self._are_all_full:
            return {}
        rooms: dict[str, int] = {}
        share, left = max(1, PAGE // max(1, sum(len(self._known[queue]) for queue in queues))), PAGE
        room_for = cache(self._room_for)
        for queue in _in_turn(queues, self._served):
            if left <= 0:
                break
            lines = {line: task for line, task in self._known[queue].items() if room_for(task.shape, share)}
            if lines and self._is_closed(gate, queue):
                self._full.add(queue)
            elif lines:
                room = min(share, gate.room(queue, PAGE))
                found = {line: room_for(task.shape, room) for line, task in sorted(lines.items())}
                rooms |= found
                left, self._served = left - sum(found.values()), queue
        return rooms

    def _room_for(self, shape: str, most: int) -> int:
        return self._context.view.room_for(shape, self._context.clock.monotonic(), most)

    def _drop(self, lines: Iterable[str]) -> list[Task]:
        """Know of these lines no more; return who was in them."""
        dropped = []
        for line in lines:
            known = self._known.get(queue := line.partition("/")[0], {})
            if line in known:
                dropped.append(known.pop(line))
            if not known:
                self._known.pop(queue, None)
        return dropped

    async def set_aside(self, page: Sequence[Task], heads: Iterable[Task], plan: Plan) -> frozenset[str]:
        """Move who did not start to where it waits out of the others' way; return their ids.

        `page` are ready ones, `heads` were in lines already.
        """
        placed = {item.task_id for item in plan.placements}
        lines: dict[str, str] = {}
        for task in page:
            if task.task_id not in placed and (line := self._line_of(task, plan)) is not None:
                lines[task.task_id] = line
                self.know(task)
        for task in heads:
            if (own := _own_line(task, plan)) is not None:
                lines[task.task_id] = own
        if lines and self._context.epoch is not None:
            await self._context.store.lines.set_aside(lines, self._context.epoch)
        return frozenset(lines)

    def _line_of(self, task: Task, plan: Plan) -> str | None:
        return _own_line(task, plan) or self._rules.line_of(task)

    async def look(self, gate: Gate) -> None:
        """Record why the first in full queues wait, some lines at a time."""
        now = self._context.clock.monotonic()
        full = self._known.keys() if self._are_all_full else self._known.keys() & self._full
        if not full or now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        lines = _in_turn((line for queue in full for line in self._known[queue]), self._shown)[:PAGE]
        self._shown = lines[-1]
        found = await self._context.store.lines.heads(
            dict.fromkeys(lines, min(MOST_TOLD, PAGE // len(lines)))
        )
        delays = ((task.task_id, gate.delay(task)) for task in found)
        self.tell({task_id: delay for task_id, delay in delays if delay is not None})

    def tell(self, delays: Mapping[str, Delay]) -> None:
        """Record delays of tasks, each once in a while as long as it goes on."""
        now, counts = self._context.clock.monotonic(), dict[tuple[str, str], int]()
        if len(self._told) > _MOST_KNOWN:
            self._told = {key: at for key, at in self._told.items() if now - at < TELL_SECONDS}
        for task_id, delay in delays.items():
            kind = (delay.queue, delay.code)
            counts[kind] = counts.get(kind, 0) + 1
            if counts[kind] > MOST_TOLD or now - self._told.get((task_id, delay.code), -TELL_SECONDS) < (
                TELL_SECONDS
            ):
                continue
            self._told[task_id, delay.code] = now
            self._context.decisions.note(delay_decision(task_id, delay, self._context.clock.now()))


def _own_line(task: Task, plan: Plan) -> str | None:
    """Return the line of its key, or of the registry of its image, if that is what it waits for."""
    delay = plan.delayed.get(task.task_id)
    return None if delay is None else delay.line


def _in_turn(names: Iterable[str], after: str) -> list[str]:
    """Return the names in order, those after that one first."""
    ordered = sorted(names)
    first = bisect_right(ordered, after)
    return ordered[first:] + ordered[:first]
