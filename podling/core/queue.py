"""Queues: named lines of tasks, and what an operator says about each. Everything is off until it is set."""

from dataclasses import replace

from podling.core.errors import InvalidInput
from podling.core.fields import MAX_SECONDS, check_identifier, check_number
from podling.core.value import value

ALL_QUEUES = "*"
"""The name under which the operator speaks of all queues together; no queue can be called so."""

DEFAULT_QUEUE = "default"
ALWAYS_THERE = frozenset({ALL_QUEUES, DEFAULT_QUEUE})
MOST_TASKS = 1_000_000
MOST_PER_MINUTE = 10_000_000
MOST_WEIGHT = 1000
MOST_BYTES = 2**31 - 1


@value
class QueuePolicy:
    """Limits of one queue; None is no limit, and with all of them None a queue costs nothing.

    `max_in_flight` counts attempts that are given to a node and have not ended, `max_per_minute` starts
    of attempts within any 60 seconds. A task with a `concurrencyKey` shares it with no other task, or with
    `max_per_key` of them. A queue that was at a limit rests for `throttle_delay_seconds`. Where any queue
    has a `weight`, queues take turns in proportion to it (1 where none is set). For every
    `ageing_seconds` that a task waits its priority counts as one higher. `max_payload_bytes` (of
    a function's payload, or of a task without one) and `max_submits_per_minute` are asked at the door.
    While `paused` nothing starts; what runs goes on.
    """

    max_in_flight: int | None = None
    max_per_minute: int | None = None
    max_per_key: int | None = None
    throttle_delay_seconds: float | None = None
    weight: int | None = None
    ageing_seconds: float | None = None
    max_payload_bytes: int | None = None
    max_submits_per_minute: int | None = None
    paused: bool = False


UNLIMITED = QueuePolicy()


@value
class Queue:
    """A queue that was used or declared, by name; `ALL_QUEUES` stands for all of them together."""

    name: str
    policy: QueuePolicy = UNLIMITED


def check_queue(name: str, policy: QueuePolicy) -> None:
    """Raise InvalidInput for what cannot be a queue's name, or a limit that means nothing."""
    check_queue_name(name)
    _check_whole("maxInFlight", policy.max_in_flight, MOST_TASKS)
    _check_whole("maxPerMinute", policy.max_per_minute, MOST_PER_MINUTE)
    _check_whole("maxPerKey", policy.max_per_key, MOST_TASKS)
    _check_seconds("throttleDelaySeconds", policy.throttle_delay_seconds, 3600)
    _check_whole("weight", policy.weight, MOST_WEIGHT)
    _check_seconds("ageingSeconds", policy.ageing_seconds, MAX_SECONDS)
    _check_whole("maxPayloadBytes", policy.max_payload_bytes, MOST_BYTES)
    _check_whole("maxSubmitsPerMinute", policy.max_submits_per_minute, MOST_PER_MINUTE)
    if name == ALL_QUEUES:
        _check_for_all(policy)


def check_queue_name(name: str) -> None:
    """Raise InvalidInput for what is neither a queue's name nor `ALL_QUEUES`."""
    if name != ALL_QUEUES:
        check_identifier("name", name)


def _check_whole(field: str, number: int | None, most: int) -> None:
    if number is not None:
        check_number(field, number, 1, most)


def _check_seconds(field: str, seconds: float | None, most: float) -> None:
    if seconds is not None:
        check_number(field, seconds, 0, most, above=True, unit=" seconds")


def _check_for_all(policy: QueuePolicy) -> None:
    """What compares tasks or queues with each other is said of a single queue."""
    alone = {
        "maxPerKey": policy.max_per_key,
        "weight": policy.weight,
        "ageingSeconds": policy.ageing_seconds,
    }
    for field, given in alone.items():
        if given is not None:
            raise InvalidInput.field(field, "is said of one queue, not of all of them together")


def with_pause(policy: QueuePolicy, paused: bool) -> QueuePolicy:
    return policy if policy.paused is paused else replace(policy, paused=paused)
