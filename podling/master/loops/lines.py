"""The lines of queues that are limited, and of concurrency keys: who waits in them, and who may leave."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from podling.core.decision import delay_decision
from podling.core.queue import ALL_QUEUES
from podling.core.task import Task
from podling.core.traffic import KEY, KEYS, Delay, Gate, Rules, key_line
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
    whose key is in use wait in a line of their key, and are made ready when it is free again.
    """

    def __init__(self, context: MasterContext) -> None:
        self._context = context
        self._known: dict[str, Task] = {}  # lines of queues, each with a task that is or was in it
        self._freed: set[str] = set()  # keys
        self._keys_after: str | None = KEYS  # the lines of keys from here on are looked at; None: all were
        self._epoch: int | None = None
        self._is_stale = True
        self._learned_at = self._looked_at = 0.0
        self._told: dict[tuple[str, str], float] = {}
        self.full: set[str] = set()  # queues of which nothing may start
        self.next_at: datetime | None = None  # when one of them may start something

    @property
    def _rules(self) -> Rules:
        return self._context.queues.rules

    def gate(self) -> Gate:
        context = self._context
        return Gate(self._rules, context.view.flight, context.traffic, context.clock.now())

    def forget(self) -> None:
        """Policies have changed: look at all lines anew."""
        self._is_stale = True
        self.full = set()

    def know(self, task: Task) -> bool:
        """A task is pending; return whether it waits in a line."""
        line = self._rules.line_of(task)
        if line is None:
            return False
        self._known[line] = task
        return True

    def free(self, key: str) -> None:
        """A task with this key has ended."""
        self._freed.add(key)

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
            self._known |= await self._walk()
        except BaseException:
            self._is_stale = True
            raise
        self._keys_after, self._learned_at = KEYS, now

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
        rooms = {line: PAGE for line, task in self._known.items() if self._rules.line_of(task) != line}
        rooms |= self._free_keys() | await self._next_keys()
        if not rooms or self._context.epoch is None:
            return False
        found = await self._context.store.lines.recall(rooms, self._context.epoch)
        for line in rooms:
            if found.get(line, 0) < PAGE:
                self._known.pop(line, None)
        return self._keys_after is not None or PAGE in found.values()

    def _free_keys(self) -> dict[str, int]:
        freed, self._freed = self._freed, set()
        return {key_line(key): room for key in freed if (room := self._room_of(key)) > 0}

    def _room_of(self, key: str) -> int:
        return self._rules.most_per_key - self._context.view.flight.keys[key]

    async def _next_keys(self) -> dict[str, int]:
        """Look at some more lines of keys: those that a last leader left, or that have more room now."""
        if self._keys_after is None:
            return {}
        page = await self._context.store.lines.firsts(self._keys_after, PAGE)
        self._keys_after = [*page][-1] if len(page) == PAGE else None
        keys = (line.removeprefix(KEYS) for line in page)
        return {key_line(key): room for key in keys if (room := self._room_of(key)) > 0}

    async def heads(self, gate: Gate) -> Sequence[Task]:
        """Return the first of every line, as many as may start now."""
        if not self._known:
            return ()
        rooms = self._rooms(gate)
        if not rooms:
            return ()
        asked = {line: self._known.pop(line) for line in rooms}  # what is known meanwhile stays known
        try:
            found = await self._context.store.lines.heads(rooms)
        except BaseException:
            self._known = asked | self._known
            raise
        for task in found:
            self.know(task)
        return found

    def _rooms(self, gate: Gate) -> dict[str, int]:
        view, now = self._context.view, self._context.clock.monotonic()
        queues = {task.spec.queue for task in self._known.values()}
        left = {queue: gate.room(queue, PAGE) for queue in queues}
        self._note_full(gate, {queue for queue, room in left.items() if not room})
        share = max(1, PAGE // len(self._known))
        rooms = {}
        for line, task in sorted(self._known.items()):
            room = min(left[task.spec.queue], share)
            if room and (room := view.room_for(task.shape, now, room)):
                rooms[line] = room
        return rooms

    def _note_full(self, gate: Gate, full: set[str]) -> None:
        self.full = full
        for queue in {ALL_QUEUES, *full} if full else ():
            gate.rest(queue)
            if (limit := gate.limit(queue)) is not None:
                self.look_again(limit)

    def rest(self, delays: Iterable[Delay]) -> None:
        """Queues that were at a limit rest, if they shall."""
        gate = self.gate()
        for delay in {delay.queue: delay for delay in delays}.values():
            gate.rest(delay.queue)
            self.look_again(gate.limit(delay.queue) or delay)

    def look_again(self, delay: Delay) -> None:
        """Remember when the delay may end."""
        if delay.until is not None:
            self.next_at = delay.until if self.next_at is None else min(self.next_at, delay.until)

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
            if _waits_for_key(task, plan):
                lines[task.task_id] = key_line(task.spec.concurrency_key or "")
        if lines and self._context.epoch is not None:
            await self._context.store.lines.set_aside(lines, self._context.epoch)
        return frozenset(lines)

    def _line_of(self, task: Task, plan: Plan) -> str | None:
        if _waits_for_key(task, plan):
            return key_line(task.spec.concurrency_key or "")
        return self._rules.line_of(task)

    async def look(self, gate: Gate) -> None:
        """Record why the first in full queues wait."""
        now = self._context.clock.monotonic()
        if not self.full or now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        rooms = {line: MOST_TOLD for line, task in self._known.items() if task.spec.queue in self.full}
        found = await self._context.store.lines.heads(rooms)
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


def _waits_for_key(task: Task, plan: Plan) -> bool:
    delay = plan.delayed.get(task.task_id)
    return delay is not None and delay.code == KEY
