"""All masters of one database count with one lease, which a worker learns from whichever it finds.

With two, the leader could give a task away while its worker still counts the longer one, and the
task would run twice at a time.
"""

import asyncio
from collections.abc import Iterable

from podling.core.errors import ConfigurationError
from podling.master.context import MasterContext
from podling.store.base import Master

LOOKS, LOOK_SECONDS = 6, 0.5  # who lives beats once a second


async def check_lease(context: MasterContext, look_seconds: float = LOOK_SECONDS) -> None:
    """Raise ConfigurationError if a master that lives has another lease; StoreUnavailable.

    A record alone tells nothing, as it outlives a crash: one whose counter grows does.
    """
    others = others_with_another_lease(context, await context.store.load_masters())
    seen = {other.master_id: other.counter for other in others}
    for _ in range(LOOKS if others else 0):
        await asyncio.sleep(look_seconds)
        for other in others_with_another_lease(context, await context.store.load_masters()):
            if other.counter > seen.setdefault(other.master_id, other.counter):
                raise ConfigurationError(
                    f"{difference(context, other)}: give all masters of a database the same; to change"
                    " it, stop all of them first"
                )


def others_with_another_lease(context: MasterContext, masters: Iterable[Master]) -> list[Master]:
    """Return those, without earlier starts of this very master, and those that told no lease."""
    own = context.options
    return [
        master
        for master in masters
        if master.identity != own.identity and master.lease_seconds not in (None, own.lease_seconds)
    ]


def difference(context: MasterContext, other: Master) -> str:
    """Say it, for the one who starts or looks after this master."""
    own = context.options.lease_seconds
    return f"the master {other.advertise_url} has --lease-seconds {other.lease_seconds:g}, this one {own:g}"
