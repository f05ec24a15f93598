"""Many that want one lock by REST, in several programs at two masters: one holder at any time, all served."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import ROOT, Cluster, several_masters
from tests.support import IN_SOAK

PROGRAMS = 4 if IN_SOAK else 2
CONTENDERS = 1000 if IN_SOAK else 240  # more in each program than a client has connections by default
PATIENCE = 900 if IN_SOAK else 90

pytestmark = [pytest.mark.xdist_group("contenders"), pytest.mark.timeout(PATIENCE + 60)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with several_masters(lease_seconds=60.0) as found:
        found.start_master("master-1")
        found.start_master("master-2")
        yield found


def test_one_of_many_holds_a_lock_and_everybody_is_served(cluster: Cluster) -> None:
    ledger = cluster.directory / "ledger"
    programs = [
        subprocess.Popen(
            [
                sys.executable,
                *("-m", "tests.e2e.rest_contender", cluster.url(f"master-{1 + number % 2}"), str(ledger)),
                str(CONTENDERS // PROGRAMS),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for number in range(PROGRAMS)
    ]
    assert [program.wait(PATIENCE) for program in programs] == [0] * PROGRAMS
    lines = ledger.read_text().splitlines()
    assert len(lines) == 2 * CONTENDERS
    tokens = [line.removeprefix("in ") for line in lines[::2]]
    assert lines[1::2] == [f"out {token}" for token in tokens], "somebody came in before another was out"
    numbers = [int(token) for token in tokens]
    assert numbers == sorted({*numbers})
    assert list(cluster.client("master-1").locks()) == []
