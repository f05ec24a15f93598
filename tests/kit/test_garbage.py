"""Full collections of garbage look at what is new, and at the rest when memory grew and times are calm."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from podling.kit.garbage import (
    CALM_SECONDS,
    GROWTH,
    MIDDLE,
    MOST_SECONDS,
    TOO_MUCH,
    YOUNG,
    Collector,
)


class Clock:
    """Also of how much is allocated: `blocks` are what there was at first, times a factor."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.blocks = 1.0

    def __call__(self) -> float:
        return self.seconds

    def allocated(self) -> int:
        return round(1_000_000 * self.blocks)


class Circle:
    """Something that refers to itself, so that only a collection takes it away."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Iterator[Collector]:
    before = gc.get_threshold()
    collector = Collector(clock, clock.allocated)
    collector.begin()
    yield collector
    collector.end()
    gc.set_threshold(*before)


def full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


def set_aside_circle() -> weakref.ref[Circle]:
    """Return a circle that a full collection found in use, and that nobody uses any more."""
    circle = Circle()
    gc.collect()
    return weakref.ref(circle)


@pytest.mark.usefixtures("collector")
def test_what_is_kept_is_no_reason_to_look_at_everything() -> None:
    before = full_collections()
    kept = [[number] for number in range(3 * YOUNG * MIDDLE)]
    assert full_collections() == before
    assert kept


@pytest.mark.usefixtures("collector")
def test_a_full_collection_looks_only_at_what_is_new() -> None:
    kept = [[number] for number in range(YOUNG)]
    gc.collect()
    assert len(gc.get_objects()) < YOUNG
    assert kept


@pytest.mark.usefixtures("collector")
def test_no_collection_looks_at_more_than_has_come_since_a_few_before() -> None:
    kept, most = [], 0
    for number in range(4 * YOUNG * MIDDLE):
        kept.append([number])
        if number % YOUNG == 0:
            most = max(most, len(gc.get_objects()))
    assert YOUNG < most < 2 * YOUNG * MIDDLE
    assert kept


@pytest.mark.usefixtures("collector")
def test_garbage_in_circles_does_not_pile_up() -> None:
    circles = [weakref.ref(Circle()) for _ in range(2 * YOUNG)]
    assert sum(circle() is not None for circle in circles) < 2 * YOUNG


def test_circles_that_were_set_aside_go_when_memory_has_doubled_although_times_are_never_calm(
    collector: Collector, clock: Clock
) -> None:
    circle = set_aside_circle()
    clock.blocks = TOO_MUCH
    collector.look_again()
    assert circle() is not None
    clock.blocks = TOO_MUCH + 0.01
    collector.look_again()
    assert circle() is None


def test_circles_that_were_set_aside_go_when_memory_has_grown_and_times_are_calm(
    collector: Collector, clock: Clock
) -> None:
    circle = set_aside_circle()
    clock.blocks = GROWTH + 0.01
    clock.seconds += CALM_SECONDS - 1
    collector.look_again()
    assert circle() is not None
    clock.seconds += 1
    collector.look_again()
    assert circle() is None


def test_everything_is_looked_at_once_in_an_hour_while_memory_does_not_grow(
    collector: Collector, clock: Clock
) -> None:
    circle = set_aside_circle()
    clock.blocks = GROWTH - 0.01
    clock.seconds += MOST_SECONDS - 1
    collector.look_again()
    assert circle() is not None
    clock.seconds += 1
    collector.look_again()
    assert circle() is None


def test_growth_is_measured_from_the_least_there_was(collector: Collector, clock: Clock) -> None:
    circle = set_aside_circle()
    clock.blocks = 0.5
    collector.look_again()
    clock.blocks = 0.5 * GROWTH + 0.01
    clock.seconds += CALM_SECONDS
    collector.look_again()
    assert circle() is None


def test_circles_that_were_set_aside_go_although_times_are_never_calm(
    collector: Collector, clock: Clock
) -> None:
    circle = set_aside_circle()
    clock.seconds += MOST_SECONDS
    gc.collect(0)
    gc.collect()
    collector.look_again()
    assert circle() is None


def test_nothing_is_looked_at_again_when_nothing_was_set_aside(collector: Collector, clock: Clock) -> None:
    clock.seconds += MOST_SECONDS
    before = full_collections()
    collector.look_again()
    assert full_collections() == before
