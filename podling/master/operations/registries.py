"""Registries of images: what their breakers say."""

from collections.abc import Sequence

from podling.coordination.breakers import MOST_LISTED, Breakers
from podling.coordination.coordination import Coordination
from podling.core.coordination import Breaker
from podling.core.registries import PREFIX, Registries
from podling.core.task import Task
from podling.master.context import MasterContext


def breakers_of(context: MasterContext) -> Breakers:
    """Return the breakers by the registries that they are of."""
    return Coordination(context.store.coordination, prefix=PREFIX).breakers


async def read(breakers: Breakers) -> Sequence[Breaker]:
    """Return all of them. Raises StoreUnavailable."""
    found = list(page := await breakers.list())
    while len(page) == MOST_LISTED:
        found += (page := await breakers.list(after=page[-1].key))
    return found


async def seen_for(context: MasterContext, task: Task) -> Registries:
    """Return what holds back a task that waits for the registry of its image. Raises StoreUnavailable."""
    registries = Registries()
    registries.learn(await read(breakers_of(context)))
    registries.suppose(task)
    return registries
