"""Registries of images: what their breakers say."""

from podling.coordination.breakers import Breakers
from podling.coordination.coordination import Coordination
from podling.core.registries import PREFIX, Registries
from podling.core.task import Task
from podling.master.context import MasterContext


def breakers_of(context: MasterContext) -> Breakers:
    """Return the breakers by the registries that they are of."""
    return Coordination(context.store.coordination, prefix=PREFIX).breakers


async def seen_for(context: MasterContext, task: Task) -> Registries:
    """Return what holds back a task that waits for the registry of its image. Raises StoreUnavailable."""
    registries = Registries()
    registries.learn(await breakers_of(context).list())
    registries.suppose(task)
    return registries
