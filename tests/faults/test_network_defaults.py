"""How soon a lost worker is noticed, and where its task goes, with the settings a master comes with."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import engine
from tests.e2e.ledger import Ledger, ledger
from tests.e2e.programs import until
from tests.faults.figures import remove_containers, tell
from tests.faults.hosts import Spread, spread
from tests.faults.pulses import now, overlaps, spans
from tests.faults.test_network import WORKERS, both_spans, started_on

__all__ = ["engine"]

LEASE_SECONDS = 12.0  # the default of --lease-seconds
FOUND_SECONDS = 15.0
STARTED_SECONDS = 20.0

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(1000),
    pytest.mark.xdist_group("faults-network-defaults"),
    pytest.mark.soak,
]


@pytest.fixture
def running(engine: None) -> Iterator[Spread]:
    with spread(LEASE_SECONDS, WORKERS, store="postgres") as started:
        yield started


@pytest.fixture
def written(running: Spread) -> Iterator[Ledger]:
    with ledger(running.engine) as made:
        yield made
        remove_containers(running)


@pytest.mark.parametrize("fault", ["kill", "cut", "cut_to_hub", "cut_from_hub"])
def test_a_lost_worker_is_found_and_its_task_is_started_elsewhere(
    running: Spread, written: Ledger, fault: str
) -> None:
    task_id, host = started_on(running, written, onDisconnect="stop")
    begin = now()
    if fault == "kill":
        running.kill(host)
    else:
        getattr(running.network, fault)(host)
    until("the node is lost", lambda: running.online() == len(WORKERS) - 1)
    found_after = now() - begin
    both = both_spans(written, task_id)
    started_after = both[2][0] - begin
    tell(f"{fault}: found after {found_after:.1f} s, started elsewhere after {started_after:.1f} s")
    # A worker that hears nothing is heard for a third of its lease more, until it gives its line up.
    assert found_after < FOUND_SECONDS + (LEASE_SECONDS / 3 if fault == "cut_from_hub" else 0)
    assert started_after < STARTED_SECONDS
    if fault != "kill":
        assert overlaps(both) == [], both


def test_a_cut_of_half_a_lease_loses_no_node(running: Spread, written: Ledger) -> None:
    task_id, host = started_on(running, written, onDisconnect="keep", onLost="hold")
    begin = now()
    running.network.cut(host)
    until("half a lease has passed", lambda: now() - begin > LEASE_SECONDS / 2)
    running.network.heal()
    end = now()
    until("two leases have passed", lambda: now() - end > 2 * LEASE_SECONDS)
    assert "is lost" not in running.log("master")
    assert running.task(task_id)["attempt"] == 1
    assert spans(written, task_id)[1][1] > end + LEASE_SECONDS


@pytest.mark.parametrize("seconds", [60, 600])
def test_a_long_cut_ends_with_everything_in_order(running: Spread, written: Ledger, seconds: int) -> None:
    task_id, host = started_on(running, written)
    running.network.cut(host)
    begin = time.monotonic()
    both_spans(written, task_id)
    until("the cut has lasted", lambda: time.monotonic() - begin > seconds, seconds + 10)
    running.network.heal()
    running.wait_for_workers(len(WORKERS))
    until("nothing of the first attempt is left", lambda: len(running.containers()) == 1)
    assert overlaps(spans(written, task_id)) == []
    assert running.task(task_id)["attempt"] == 2
