"""A whole cluster under one seed: whatever goes wrong, no law is broken, and all comes to an end.

`make soak` runs seed after seed until PODLING_SOAK_SECONDS have passed. A seed that fails prints
its history; `python -m tests.sim SEED` lives through it again, exactly.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sim.world import World

STEPS = 16_000
SEEDS = range(1, 25)
SOAK_SECONDS = float(os.environ.get("PODLING_SOAK_SECONDS", "600"))
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_a_law(seed: int) -> None:
    world = World(seed)
    steps = STEPS * 3 // 2 if world.coordinates and world.produces else STEPS  # of which these take half
    outcome = world.run(steps)
    assert outcome.steps >= steps
    assert outcome.faults > 5, "a world without faults shows nothing"
    assert outcome.starts > 20, "a world without work shows nothing"
    assert outcome.grants > 5 or not world.coordinates, "a world in which nobody locks shows nothing"


def test_a_seed_replays_exactly() -> None:
    """Also in another process, where texts have other hashes."""
    sums = {_sum_in_a_process(hash_seed) for hash_seed in ("1", "2")}
    assert len(sums) == 1


def _sum_in_a_process(hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim", "7", "3000"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "sum=" in done.stdout
    return done.stdout


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 2 + 600)
def test_no_seed_breaks_a_law_for_as_long_as_there_is_time() -> None:
    first = random.SystemRandom().randrange(10**6, 10**9)
    until, seed = time.monotonic() + SOAK_SECONDS, first
    while time.monotonic() < until:
        print(World(seed).run(STEPS), file=sys.stderr, flush=True)  # noqa: T201 - a long run's progress
        seed += 1
    assert seed > first
