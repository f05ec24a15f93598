"""Schedules: a method for each route. `schedule` is an id or a name."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Unpack, cast

from podling.client import schedules
from podling.client.asynchronous_base import PAGE, AsyncCaller
from podling.client.models import Fire, Schedule, ScheduleFields, Task
from podling.client.program import new_key


class AsyncSchedules(AsyncCaller):
    """What submits tasks by the clock."""

    def schedules(self, *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[Schedule]:
        """Yield schedules, the newest first and at most `limit`, page by page."""
        return cast(AsyncIterator[Schedule], self.items(schedules.listing, limit=limit, page=page))

    async def schedule(self, schedule: str) -> Schedule:
        """Return a schedule, when it fires next, and what came of it last. Raises NotFound."""
        return cast(Schedule, await self.send(schedules.read(schedule)))

    async def create_schedule(self, name: str, **fields: Unpack[ScheduleFields]) -> Schedule:
        """Make a schedule; the fields are those of `POST /schedules`. Raises Conflict if there is one."""
        return cast(Schedule, await self.send(schedules.create({"name": name, **fields})))

    async def replace_schedule(self, name: str, **fields: Unpack[ScheduleFields]) -> Schedule:
        """Replace all of a schedule but its name. Raises NotFound."""
        return cast(Schedule, await self.send(schedules.save(name, {"name": name, **fields})))

    async def remove_schedule(self, schedule: str) -> None:
        """Remove a schedule; its tasks go on."""
        await self.send(schedules.remove(schedule))

    async def pause_schedule(self, schedule: str) -> Schedule:
        """Let it fire no more."""
        return cast(Schedule, await self.send(schedules.pause(schedule)))

    async def resume_schedule(self, schedule: str) -> Schedule:
        """Let it fire from now on; what would have fired meanwhile is not made up for."""
        return cast(Schedule, await self.send(schedules.resume(schedule)))

    async def run_schedule(self, schedule: str, **overrides: Any) -> Task:
        """Start its task now, with other fields if they are given; return the task. A reply that is lost is
        asked for again, and starts nothing twice.

        Raises Conflict where its tasks run one at a time and the last one has not ended.
        """
        return cast(Task, await self.send(schedules.run(schedule, overrides, new_key())))

    def fires(
        self, schedule: str, *, outcome: str | None = None, limit: int | None = None, page: int = PAGE
    ) -> AsyncIterator[Fire]:
        """Yield what was decided of its fire times, the newest first."""
        listing = partial(schedules.fires, schedule, outcome=outcome)
        return cast(AsyncIterator[Fire], self.items(listing, limit=limit, page=page))
