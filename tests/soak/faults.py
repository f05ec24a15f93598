"""The table of faults."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tests.soak.cluster import Cluster
from tests.soak.database_faults import DatabaseFaults
from tests.soak.master_faults import MasterFaults
from tests.soak.measures import Times
from tests.soak.spoiled_relay import Spoiling
from tests.soak.wide_faults import WideFaults
from tests.soak.worker_faults import WorkerFaults

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault of the table; `weight` is how often it is drawn, `is_total` that nothing outlives it."""

    name: str
    weight: float
    run: Fault
    is_total: bool = False


def table(cluster: Cluster, times: Times, dice: random.Random) -> list[Kind]:
    """Return every kind of fault that this cluster can have."""
    workers, masters = WorkerFaults(cluster, times, dice), MasterFaults(cluster, times, dice)
    database, wide = DatabaseFaults(cluster, times, dice), WideFaults(cluster, times, dice)
    kinds = [
        Kind("worker killed, restarted", 8, workers.worker_killed),
        Kind("worker killed, away past its lease", 5, workers.worker_lost),
        Kind("worker stopped past its lease, continued", 4, workers.worker_stopped_past_its_lease),
        Kind("worker ended by SIGTERM, restarted", 5, workers.worker_restarted),
        Kind("worker ended by a second SIGTERM", 2, workers.worker_told_twice),
        Kind("worker drained, opened again", 4, workers.worker_drained),
        Kind("worker drained by a deadline, opened again", 4, workers.worker_drained_by_a_deadline),
        Kind("keeper of processes killed", 2, workers.keeper_killed),
        Kind("leader killed, away", 4, masters.leader_killed),
        Kind("leader killed, restarted", 4, masters.leader_killed_and_restarted),
        Kind("leader stopped past its lease, continued", 3, masters.leader_stopped_past_its_lease),
        Kind("leader ended by SIGTERM", 4, masters.leader_stops),
        Kind("follower killed, restarted", 4, masters.follower_killed),
        Kind("leader cut off from PostgreSQL", 3, masters.leader_cut_from_database),
        Kind("all masters killed at once", 2, masters.all_masters_killed, is_total=True),
        Kind("PostgreSQL killed", 4, database.postgres_killed),
        Kind("PostgreSQL immediate stop", 3, database.postgres_stopped_at_once),
        Kind("PostgreSQL fast stop", 3, database.postgres_stopped_fast),
        Kind("PostgreSQL hangs", 2, database.postgres_hangs),
        Kind("one backend terminated", 4, database.one_backend_ended),
        Kind("LISTEN session terminated", 4, database.listener_ended),
        Kind("everything killed at once", 2, wide.everything_killed, is_total=True),
    ]
    lines = (
        (Spoiling.CUT, 3),
        (Spoiling.PARTITION, 2),
        (Spoiling.ONE_WAY_UP, 2),
        (Spoiling.ONE_WAY_DOWN, 2),
        (Spoiling.DELAY, 2),
        (Spoiling.HALF_CLOSE, 3),
        (Spoiling.LOSE_REPLIES, 3),
    )
    kinds += [
        Kind(f"line of a worker: {spoiling}", weight, partial(wide.line_spoiled, spoiling))
        for spoiling, weight in lines
    ]
    if cluster.engines:
        kinds += [
            Kind("dockerd killed, restarted", 5, wide.engine_killed),
            Kind("container removed by hand", 6, wide.container_removed_by_hand),
        ]
    return kinds
