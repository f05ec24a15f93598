"""Caps, rates, keys and turns, whatever comes in which order."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from podling.core.advice import delay_advice
from podling.core.queue import ALL_QUEUES, QueuePolicy
from podling.core.task import Task, TaskStatus
from podling.core.traffic import IN_FLIGHT, MINUTE, RATE, Flight, Gate, Rules, Traffic, Window, in_order
from podling.core.view import View, plan
from tests.builders import NOW, at, build_node, build_task

QUEUES = ("a", "b", "c")
LIMITS = st.none() | st.integers(1, 4)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, QueuePolicy]:
    made = {
        name: QueuePolicy(
            max_in_flight=draw(LIMITS),
            max_per_minute=draw(LIMITS),
            max_per_key=draw(LIMITS),
            weight=draw(LIMITS),
            ageing_seconds=draw(st.none() | st.just(10.0)),
            paused=draw(st.booleans()) and draw(st.booleans()),
        )
        for name in draw(st.sets(st.sampled_from(QUEUES)))
    }
    if draw(st.booleans()):
        made[ALL_QUEUES] = QueuePolicy(max_in_flight=draw(LIMITS), max_per_minute=draw(LIMITS))
    return made


TASKS = st.lists(
    st.tuples(st.sampled_from(QUEUES), st.none() | st.sampled_from("xy"), st.integers(0, 3)), max_size=25
)


def made(rows: list[tuple[str, str | None, int]]) -> list[Task]:
    return [build_task(queue=queue, concurrency_key=key, priority=rank) for queue, key, rank in rows]


def begin(view: View, task: Task, seconds: float) -> Task:
    live = replace(
        task, status=TaskStatus.RUNNING, node_id="node-1", attempt=1, version=2, scheduled_at=at(seconds)
    )
    view.put_task(live)
    return live


@given(policies(), TASKS, st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=8))
def test_no_cap_is_exceeded_and_no_rate(
    said: dict[str, QueuePolicy],
    rows: list[tuple[str, str | None, int]],
    steps: list[tuple[int, int]],
) -> None:
    rules, traffic, view = Rules(said), Traffic(), View()
    traffic.count(rules.rated)
    view.put_node(build_node("node-1", allocatable={"slots": 12, "cpu": 10**6, "memory": 2**40}))
    waiting, live, starts, now = made(rows), list[Task](), list[Task](), 0.0
    for passed, ends in [(0, 0), *steps]:
        now += passed
        for task in live[:ends]:
            view.put_task(replace(task, status=TaskStatus.COMPLETED, version=3))
        live = live[ends:]
        gate = Gate(rules, view.flight, traffic, at(now))
        decided = plan(view, in_order(waiting, rules, traffic, at(now)), 0.0, gate=gate)
        by_id = {task.task_id: task for task in waiting}
        for item in decided.placements:
            begun = begin(view, by_id.pop(item.task_id), now)
            traffic.began(begun.spec.queue, begun.task_id, 1, at(now))
            live.append(begun)
            starts.append(begun)
        waiting = list(by_id.values())
        _check_caps(rules, live, starts, now)
        assert view.flight.total == len(live)


def _check_caps(rules: Rules, live: list[Task], starts: list[Task], now: float) -> None:
    lately = [
        task for task in starts if task.scheduled_at and task.scheduled_at > at(now) - timedelta(minutes=1)
    ]
    for queue, policy in rules.policies.items():
        here = [task for task in live if queue in (ALL_QUEUES, task.spec.queue)]
        begun = [task for task in lately if queue in (ALL_QUEUES, task.spec.queue)]
        assert policy.max_in_flight is None or len(here) <= policy.max_in_flight
        assert policy.max_per_minute is None or len(begun) <= policy.max_per_minute
        if policy.paused:
            assert not here
    keys = Counter(task.spec.concurrency_key for task in live if task.spec.concurrency_key)
    assert all(count <= rules.most_per_key for count in keys.values())


@given(TASKS)
def test_without_policies_and_keys_the_gate_lets_everything_through(
    rows: list[tuple[str, str | None, int]],
) -> None:
    gate, rules = Gate(Rules({}), Flight(), Traffic(), NOW), Rules({})
    tasks = made([(queue, None, rank) for queue, _, rank in rows])
    for task in tasks:
        assert gate.delay(task) is None and rules.line_of(task) is None
        gate.take(task)


@given(st.dictionaries(st.sampled_from(QUEUES), st.integers(1, 5), min_size=1))
def test_turns_follow_the_weights(weights: dict[str, int]) -> None:
    rules, traffic = Rules({name: QueuePolicy(weight=weight) for name, weight in weights.items()}), Traffic()
    rounds, total = 4, sum(weights.values())
    tasks = [build_task(queue=name) for name in weights for _ in range(rounds * total)]
    gate, begun = Gate(rules, Flight(), traffic, NOW), Counter[str]()
    for task, _ in zip(in_order(tasks, rules, traffic, NOW), range(rounds * total), strict=False):
        gate.take(task)
        begun[task.spec.queue] += 1
    for name, weight in weights.items():
        assert abs(begun[name] - rounds * weight) <= len(weights)


def test_who_was_idle_has_saved_nothing_up() -> None:
    rules, traffic = Rules({"a": QueuePolicy(weight=1)}), Traffic()
    gate = Gate(rules, Flight(), traffic, NOW)
    for _ in range(50):
        gate.take(build_task(queue="a"))
    tasks = [build_task(queue=name) for name in "ab" for _ in range(4)]
    order = []
    for task in in_order(tasks, rules, traffic, NOW):
        gate.take(task)
        order.append(task.spec.queue)
    assert sorted(order[:4]) == ["a", "a", "b", "b"]


def test_a_rate_says_when_the_next_may_start() -> None:
    rules, traffic = Rules({"a": QueuePolicy(max_per_minute=2)}), Traffic()
    traffic.count(rules.rated)
    for number, seconds in enumerate((0, 10, 20)):
        traffic.began("a", f"t{number}", 1, at(seconds))
        traffic.began("a", f"t{number}", 1, at(seconds + 1))  # told twice
    delay = Gate(rules, Flight(), traffic, at(30)).delay(build_task(queue="a"))
    assert delay is not None and (delay.code, delay.until) == (RATE, at(70))
    assert Gate(rules, Flight(), traffic, at(69.9)).room("a", 9) == 0
    assert Gate(rules, Flight(), traffic, at(70)).room("a", 9) == 1


def test_starts_that_nobody_has_counted_yet_let_nothing_through() -> None:
    rules = Rules({"a": QueuePolicy(max_per_minute=2)})
    delay = Gate(rules, Flight(), Traffic(), NOW).delay(build_task(queue="a"))
    assert delay is not None and delay.code == RATE


STARTS = st.lists(st.tuples(st.integers(0, 9), st.integers(-130, 70)), max_size=20)


@given(STARTS, st.lists(st.integers(0, 100), min_size=1, max_size=4).map(sorted))
def test_a_window_counts_each_start_of_the_last_minute_once(
    starts: list[tuple[int, int]], asked: list[int]
) -> None:
    window, first = Window(), dict[int, int]()
    for number, second in starts:
        window.began(f"task-{number}", 1, at(second))
        first.setdefault(number, second)
    for now in asked:
        left = sorted(min(at(second), at(now)) for second in first.values() if at(second) > at(now) - MINUTE)
        assert window.count(at(now)) == len(left)
        assert [window.newest(place, at(now)) for place in range(len(left), 0, -1)] == left


class Compared(datetime):
    """A time that counts how often one is compared with another."""

    times = 0

    def __lt__(self, other: datetime) -> bool:
        Compared.times += 1
        return super().__lt__(other)


def test_a_rate_costs_no_more_where_more_has_begun() -> None:
    rules, traffic, task = Rules({"a": QueuePolicy(max_per_minute=5000)}), Traffic(), build_task(queue="a")
    traffic.count(rules.rated)
    for number in range(5000):
        traffic.began("a", f"task-{number}", 1, Compared.fromisoformat(at(number / 100).isoformat()))
    Compared.times = 0
    for number in range(100):
        delay = Gate(rules, Flight(), traffic, at(50 + number / 100)).delay(task)
        assert delay is not None and delay.until == at(60)
    assert Compared.times < 5000


def test_a_queue_at_its_limit_rests_and_then_goes_on() -> None:
    policy = QueuePolicy(max_in_flight=1, throttle_delay_seconds=5)
    rules, traffic, flight, task = Rules({"a": policy}), Traffic(), Flight(), build_task(queue="a")
    flight.take(task.spec)
    gate = Gate(rules, flight, traffic, at(0))
    gate.rest("a")
    flight.give(task.spec)
    resting = Gate(rules, flight, traffic, at(4.9)).delay(task)
    assert resting is not None and (resting.code, resting.until) == (IN_FLIGHT, at(5))
    assert resting.message == "queue a was at its limit and rests for 5 s"
    assert delay_advice(resting).endswith("podling queue set a --throttle-delay TIME.")
    assert Gate(rules, flight, traffic, at(5)).delay(task) is None
