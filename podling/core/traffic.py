"""Which task of a queue may start now: caps, rates, pauses, keys and turns, counted exactly. Pure.

Only the leader starts attempts, so what is in flight is what its view shows as live, and the rate what it
saw begin within a minute. Both follow from the store after a takeover.
"""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any, Protocol

from podling.core.queue import ALL_QUEUES, UNLIMITED, QueuePolicy
from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.core.value import value

MINUTE = timedelta(seconds=60)
KEYS = "~"  # begins the lines of keys; it comes after all that a queue's name can begin with
_MOST_TURNS = 10_000

PAUSED = "QUEUE_PAUSED"
IN_FLIGHT = "IN_FLIGHT_EXCEEDED"
RATE = "RETRY_RATE_EXCEEDED"
KEY = "KEY_IN_FLIGHT"
REGISTRY = "REGISTRY_FAILING"
RESTS = "throttleDelaySeconds"
"""A detail of the delay of a queue that was at a limit, and would have room again."""

DELAYS = frozenset({PAUSED, IN_FLIGHT, RATE, KEY, REGISTRY})
"""The codes of decisions that a start was put off."""


@value
class Delay:
    """Why a task does not start now; `queue` is whose policy says so. Nothing changes before `until`.

    `line` is where it waits out of the others' way, if not in that of its queue.
    """

    code: str
    message: str
    queue: str
    details: Mapping[str, Any] = field(default_factory=dict)
    until: datetime | None = None
    line: str | None = None


class Door(Protocol):
    """What else may hold a task back, such as `podling.core.registries`."""

    def delay(self, task: Task) -> Delay | None: ...

    def take(self, task: Task) -> None: ...


class Flight:
    """How many tasks are live: all, by queue, and by concurrency key."""

    def __init__(self) -> None:
        self.total = 0
        self.queues: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()

    def take(self, spec: TaskSpec) -> None:
        self.total += 1
        self.queues[spec.queue] += 1
        if spec.concurrency_key is not None:
            self.keys[spec.concurrency_key] += 1

    def give(self, spec: TaskSpec) -> None:
        self.total -= 1
        _less(self.queues, spec.queue)
        if spec.concurrency_key is not None:
            _less(self.keys, spec.concurrency_key)

    def of(self, queue: str) -> int:
        return self.total if queue == ALL_QUEUES else self.queues[queue]


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class Rules:
    """The policies of queues, ready to be asked. A queue that is not `lined_up` costs nothing."""

    def __init__(self, policies: Mapping[str, QueuePolicy]) -> None:
        self.policies = policies
        self.of_all = policies.get(ALL_QUEUES, UNLIMITED)
        self.shares = any(policy.weight is not None for policy in policies.values())
        self._lined = frozenset(name for name, policy in policies.items() if _needs_line(policy))
        self.most_per_key = max((policy.max_per_key or 1 for policy in policies.values()), default=1)

    def of(self, queue: str) -> QueuePolicy:
        return self.policies.get(queue, UNLIMITED)

    def per_key(self, spec: TaskSpec) -> int:
        """Return how many tasks may share the task's key: an array has its own cap."""
        if spec.array is not None and spec.array.max_parallel is not None:
            return spec.array.max_parallel
        return self.of(spec.queue).max_per_key or 1

    def is_lined_up(self, queue: str) -> bool:
        """Whether the queue's tasks wait in lines of their own, so that they are in nobody's way."""
        return self.shares or queue in self._lined

    def line_of(self, task: Task) -> str | None:
        """Return the line in which the task waits for its queue; None if it stays in the ready order.

        Tasks of one line fit the same nodes, and those of an ageing queue have the same priority.
        """
        queue = task.spec.queue
        if not self.is_lined_up(queue):
            return None
        line = f"{queue}/{task.shape}"
        return f"{line}/{task.spec.priority}" if self.of(queue).ageing_seconds else line

    @property
    def rated(self) -> frozenset[str]:
        """Return the queues whose starts are counted by the minute."""
        return frozenset(name for name, policy in self.policies.items() if policy.max_per_minute is not None)


def _needs_line(policy: QueuePolicy) -> bool:
    return policy.paused or any(
        limit is not None for limit in (policy.max_in_flight, policy.max_per_minute, policy.ageing_seconds)
    )


def key_line(key: str) -> str:
    """Return the line in which tasks wait for their concurrency key."""
    return KEYS + key


class Window:
    """Starts of attempts within the last minute; asking costs the same however many there are."""

    def __init__(self) -> None:
        self._starts: list[tuple[datetime, str, int]] = []  # in order
        self._known: set[tuple[str, int]] = set()

    def began(self, task_id: str, attempt: int, at: datetime) -> None:
        """Count an attempt once, however often it is told."""
        if (task_id, attempt) not in self._known:
            self._known.add((task_id, attempt))
            insort(self._starts, (at, task_id, attempt))

    def count(self, now: datetime) -> int:
        """Return how many there were; one that a clock ahead of ours has told counts as now."""
        gone = bisect_right(self._starts, now - MINUTE, key=itemgetter(0))
        if gone:
            self._known.difference_update(start[1:] for start in self._starts[:gone])
            del self._starts[:gone]
        return len(self._starts)

    def newest(self, place: int, now: datetime) -> datetime:
        """Return when the one began that has so many from it on."""
        return min(self._starts[-place][0], now)


class Traffic:
    """What a leader remembers beside its view. All of it may be forgotten: windows are read again."""

    def __init__(self) -> None:
        self.windows: dict[str, Window] = {}
        self._rests: dict[str, tuple[datetime, Delay]] = {}
        self._turns: dict[str, float] = {}
        self._turn = 0.0  # of the queue that was served last

    def count(self, queues: Iterable[str]) -> None:
        """Count the starts of these queues by the minute."""
        self.windows = {queue: Window() for queue in queues}

    def began(self, queue: str, task_id: str, attempt: int, at: datetime) -> None:
        """Count a start, if it is one of a queue whose starts are counted."""
        for name in (queue, ALL_QUEUES):
            if (window := self.windows.get(name)) is not None:
                window.began(task_id, attempt, at)

    def resting(self, queue: str, now: datetime) -> Delay | None:
        """Return why the queue rests, if it does."""
        until, delay = self._rests.get(queue, (now, None))
        if until > now:
            return delay
        self._rests.pop(queue, None)
        return None

    def rest(self, delay: Delay) -> None:
        assert delay.until is not None
        self._rests[delay.queue] = (delay.until, delay)

    def served(self, queue: str, weight: int) -> None:
        """A task of the queue starts: its next turn comes the later the less it weighs."""
        self._turn = max(self._turn, self.turn_of(queue))
        self._turns[queue] = self._turn + 1 / weight
        if len(self._turns) > _MOST_TURNS:
            self._turns = {name: turn for name, turn in self._turns.items() if turn > self._turn}

    def turn_of(self, queue: str) -> float:
        """Return when it is the queue's turn; who was idle has saved nothing up."""
        return max(self._turns.get(queue, 0.0), self._turn)


class Gate:
    """Says of one page of tasks which may start; what it lets through counts at once."""

    def __init__(
        self, rules: Rules, flight: Flight, traffic: Traffic, now: datetime, door: Door | None = None
    ) -> None:
        self.rules = rules
        self._door = door
        self._flight = flight
        self._traffic = traffic
        self._now = now
        self._taken: Counter[str] = Counter()
        self._taken_keys: Counter[str] = Counter()

    def delay(self, task: Task) -> Delay | None:
        """Return why the task does not start now; None if it may."""
        delay = self.limit(ALL_QUEUES) or self.limit(task.spec.queue) or self._key_delay(task)
        return self._door.delay(task) if delay is None and self._door is not None else delay

    def take(self, task: Task) -> None:
        """Count the task as started."""
        queue, key = task.spec.queue, task.spec.concurrency_key
        self._taken[queue] += 1
        self._taken[ALL_QUEUES] += 1
        if key is not None:
            self._taken_keys[key] += 1
        if self._door is not None:
            self._door.take(task)
        if self.rules.shares:
            self._traffic.served(queue, self.rules.of(queue).weight or 1)

    def limit(self, queue: str) -> Delay | None:
        """Return why nothing of the queue starts now; None if something may."""
        policy = self.rules.of(queue)
        if policy is UNLIMITED:
            return None
        if policy.paused:
            return Delay(code=PAUSED, message=f"{_title(queue)} is paused", queue=queue)
        return self._traffic.resting(queue, self._now) or self._cap(queue) or self._rate(queue)

    def room(self, queue: str, most: int) -> int:
        """Return how many tasks of the queue may start now, keys aside, up to `most`."""
        for name in (ALL_QUEUES, queue):
            if self.limit(name) is not None:
                return 0
            policy = self.rules.of(name)
            if policy.max_in_flight is not None:
                most = min(most, policy.max_in_flight - self._in_flight(name))
            if policy.max_per_minute is not None:
                most = min(most, policy.max_per_minute - self._begun(name))
        return max(0, most)

    def rest(self, queue: str) -> None:
        """The queue is at a limit and somebody waits: have it rest, if it shall and does not already."""
        seconds = self.rules.of(queue).throttle_delay_seconds
        if seconds is None or self._traffic.resting(queue, self._now):
            return
        if (delay := self._cap(queue) or self._rate(queue)) is not None:
            message = f"{_title(queue)} was at its limit and rests for {seconds:g} s"
            details = {**delay.details, RESTS: seconds}
            until = self._now + timedelta(seconds=seconds)
            self._traffic.rest(replace(delay, message=message, details=details, until=until))

    def _cap(self, queue: str) -> Delay | None:
        most = self.rules.of(queue).max_in_flight
        count = self._in_flight(queue)
        if most is None or count < most:
            return None
        return Delay(
            code=IN_FLIGHT,
            message=f"{_title(queue)} has {count} of {most} in flight",
            queue=queue,
            details={"inFlight": count, "maxInFlight": most},
        )

    def _rate(self, queue: str) -> Delay | None:
        most = self.rules.of(queue).max_per_minute
        if most is None:
            return None
        details = {"maxPerMinute": most}
        if queue not in self._traffic.windows:
            message = f"the starts of {_title(queue)} in the last minute are being counted"
            return Delay(code=RATE, message=message, queue=queue, details=details)
        if self._begun(queue) < most:
            return None
        window = self._traffic.windows[queue]
        until = None if window.count(self._now) < most else window.newest(most, self._now) + MINUTE
        message = f"{_title(queue)} has begun {most} of {most} attempts within a minute"
        return Delay(code=RATE, message=message, queue=queue, details=details, until=until)

    def _key_delay(self, task: Task) -> Delay | None:
        key, queue = task.spec.concurrency_key, task.spec.queue
        if key is None:
            return None
        most, count = self.rules.per_key(task.spec), self._flight.keys[key] + self._taken_keys[key]
        if count < most:
            return None
        return Delay(
            code=KEY,
            message=f"the concurrency key {key!r} has {count} of {most} in flight",
            queue=queue,
            details={"concurrencyKey": key, "inFlight": count, "maxPerKey": most},
            line=key_line(key),
        )

    def _in_flight(self, queue: str) -> int:
        return self._flight.of(queue) + self._taken[queue]

    def _begun(self, queue: str) -> int:
        return self._traffic.windows[queue].count(self._now) + self._taken[queue]


def _title(queue: str) -> str:
    return "the cluster" if queue == ALL_QUEUES else f"queue {queue}"


def in_order(tasks: Iterable[Task], rules: Rules, traffic: Traffic, now: datetime) -> Iterator[Task]:
    """Yield the tasks in the order in which they may start: as they rank, queues in turns if they share.

    Whoever takes one has to tell the gate before the next: turns depend on what has started.
    """
    ranked = sorted(tasks, key=lambda task: rank(task, rules.of(task.spec.queue), now))
    if not rules.shares:
        yield from ranked
        return
    waiting: dict[str, list[Task]] = {}
    for task in reversed(ranked):
        waiting.setdefault(task.spec.queue, []).append(task)
    turns = [(traffic.turn_of(queue), queue) for queue in waiting]
    heapify(turns)
    while turns:
        _, queue = heappop(turns)
        yield waiting[queue].pop()
        if waiting[queue]:
            heappush(turns, (traffic.turn_of(queue), queue))


def rank(task: Task, policy: QueuePolicy, now: datetime) -> tuple[float, datetime, datetime, str]:
    """Return what the claim order compares: waiting counts as priority in a queue that ages."""
    priority = float(task.spec.priority)
    if policy.ageing_seconds is not None:
        priority += max(0.0, (now - task.run_at).total_seconds()) / policy.ageing_seconds
    return -priority, task.run_at, task.created_at, task.task_id
