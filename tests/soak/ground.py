"""What every fault works with."""

import random
from dataclasses import dataclass

from tests.soak.cluster import Cluster
from tests.soak.measures import Times

PAST_THE_LEASE = 1.4


@dataclass(slots=True)
class Ground:
    """The cluster, where times are noted, and the dice. Every public method of a subclass is one
    fault: it does it, waits until all is well, and notes the times."""

    cluster: Cluster
    times: Times
    dice: random.Random

    @property
    def lease(self) -> float:
        return self.cluster.settings.lease_seconds

    def any_worker(self) -> str:
        return self.dice.choice(list(self.cluster.workers))
