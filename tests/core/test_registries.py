"""Registries that keep failing: what counts, who waits, and who tries."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.coordination import Breaker, BreakerState
from podling.core.registries import NEXT_TRY, Registries
from podling.core.spec import ContainerSpec, PullPolicy, Runtime
from podling.core.task import Task
from podling.core.traffic import REGISTRY
from tests.builders import build_task

DOWN = "Get https://r.test/v2/: dial tcp: connect: connection refused"
OPEN = Breaker(key="r.test", state=BreakerState.OPEN, failure_count=5)
HALF_OPEN = replace(OPEN, state=BreakerState.HALF_OPEN)


def task_of(image: str = "r.test/a:1", policy: PullPolicy = PullPolicy.IF_NOT_PRESENT, **more: Any) -> Task:
    return build_task(containers=(ContainerSpec(image=image, pull_policy=policy),), **more)


def failed(task: Task, error: str = DOWN, code: str = "IMAGE_PULL") -> Task:
    image = task.spec.main.image
    return replace(task, error_code=code, error=f"The image {image} could not be pulled: {error}")


def holding(*breakers: Breaker) -> Registries:
    """Return what knows the breakers, and that r.test/a:1 failed."""
    registries = Registries()
    registries.failed(failed(task_of()))
    registries.learn(breakers)
    registries.told()
    return registries


@pytest.mark.parametrize(
    ("error", "code", "counts"),
    [
        (DOWN, "IMAGE_PULL", 1),
        ("received unexpected HTTP status: 500 Internal Server Error", "IMAGE_PULL", 1),
        (f"{DOWN} ({NEXT_TRY} 4 s)", "IMAGE_PULL", 0),
        ("manifest unknown", "IMAGE_PULL", 0),
        ("unauthorized: authentication required", "IMAGE_AUTH", 0),
        ("--registry-config: /x cannot be read", "IMAGE_AUTH", 0),
        (DOWN, "CREATE", 0),
    ],
)
def test_only_a_registry_that_does_not_answer_has_failed(error: str, code: str, counts: int) -> None:
    registries = Registries()
    registries.failed(failed(task_of(), error, code))
    assert registries.told()[0].get("r.test", 0) == counts
    assert registries.told() == ({}, frozenset()), "it is told once"


def test_an_image_called_invalid_fails_like_any_other() -> None:
    registries = Registries()
    registries.failed(failed(task_of("r.test/invalid/denied:1")))
    assert registries.told()[0] == {"r.test": 1}


def test_a_registry_that_says_no_works() -> None:
    registries = holding(OPEN)
    registries.failed(failed(task_of(), "manifest unknown"))
    assert registries.told() == ({}, {"r.test"})


def test_who_waits_is_told_for_what() -> None:
    task = task_of()
    delay = holding(OPEN).delay(task)
    assert delay is not None and (delay.code, delay.line) == (REGISTRY, "~~registry/r.test")
    assert delay.message == (
        "the registry r.test keeps failing: its breaker registry/r.test is open after 5 pulls that failed"
    )
    assert delay.details["breaker"] == "registry/r.test" and delay.details["failureCount"] == 5


@pytest.mark.parametrize(
    ("task", "waits"),
    [
        (task_of(), True),
        (task_of("r.test/not-tried:1"), False),  # it may be on its node
        (task_of("r.test/not-tried:1", PullPolicy.ALWAYS), True),
        (task_of(policy=PullPolicy.NEVER), False),
        (task_of("other.test/a:1"), False),
        (task_of(runtime=Runtime.SIMULATED), False),
    ],
)
def test_only_what_would_be_pulled_there_waits(task: Task, waits: bool) -> None:
    assert (holding(OPEN).delay(task) is not None) == waits


def test_a_closed_breaker_holds_nothing_back() -> None:
    registries = holding(replace(OPEN, state=BreakerState.CLOSED, failure_count=4))
    assert not registries.hold and registries.delay(task_of()) is None


def test_one_tries_while_it_is_half_open() -> None:
    registries = holding(HALF_OPEN)
    first, second = task_of(), task_of()
    assert registries.delay(first) is None
    registries.take(first)
    delay = registries.delay(second)
    assert delay is not None and delay.message.endswith(f"is half open, and task {first.task_id} tries")
    registries.settle(lambda task_id: task_id == first.task_id)
    assert registries.delay(second) is not None
    registries.settle(lambda task_id: False)
    assert registries.delay(second) is None, "who tried has said nothing of it"


def test_a_start_is_an_answer_if_it_needed_the_registry() -> None:
    registries = holding(HALF_OPEN)
    registries.started(task_of("r.test/on-its-node:1"))
    assert registries.told() == ({}, frozenset())
    registries.started(task_of())
    assert registries.told() == ({}, {"r.test"})
    assert registries.delay(task_of()) is None


def test_more_may_start_when_it_half_opens_and_when_it_closes() -> None:
    registries = holding(OPEN)
    assert registries.learn([OPEN]) == frozenset()
    assert registries.learn([HALF_OPEN]) == {"r.test"} and registries.room("r.test", 500) == 1
    assert registries.learn([]) == {"r.test"} and registries.room("r.test", 500) == 500
    assert registries.learn([]) == frozenset()
