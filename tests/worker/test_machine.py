"""What is kept back of a machine, and that the machine here has something."""

from podling.core.spec import CPU, MEMORY
from podling.worker.machine import capacity_of, detect_machine

MIB = 1024 * 1024


def test_a_twentieth_is_kept_back() -> None:
    capacity, allocatable = capacity_of(
        {CPU: 8000, MEMORY: 64 * 1024 * MIB}, slots=None, cpu=None, memory=None
    )
    assert capacity == {CPU: 8000, MEMORY: 64 * 1024 * MIB, "slots": 16}
    assert allocatable == {CPU: 7600, MEMORY: 64 * 1024 * MIB - 64 * 1024 * MIB // 20, "slots": 16}


def test_at_least_100m_and_256_mib_but_never_more_than_half() -> None:
    _, small = capacity_of({CPU: 1000, MEMORY: 1024 * MIB}, slots=2, cpu=None, memory=None)
    assert small == {CPU: 900, MEMORY: 768 * MIB, "slots": 2}
    _, tiny = capacity_of({CPU: 100, MEMORY: 128 * MIB}, slots=1, cpu=None, memory=None)
    assert tiny == {CPU: 50, MEMORY: 64 * MIB, "slots": 1}


def test_what_an_operator_gives_counts_in_full() -> None:
    capacity, allocatable = capacity_of({CPU: 1000, MEMORY: 1024 * MIB}, slots=4, cpu=500, memory=100 * MIB)
    assert capacity == allocatable == {CPU: 500, MEMORY: 100 * MIB, "slots": 4}


def test_this_machine_has_something() -> None:
    found = detect_machine()
    assert found[CPU] >= 100 and found[MEMORY] >= 64 * MIB


def test_further_resources_are_offered_beside_the_machine_s_own() -> None:
    detected = {"cpu": 4000, "memory": 8 * 2**30}
    capacity, allocatable = capacity_of(detected, slots=3, cpu=None, memory=None, resources={"gpu": 2})
    assert (capacity["gpu"], allocatable["gpu"], allocatable["slots"]) == (2, 2, 3)
