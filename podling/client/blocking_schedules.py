# Written by bin/generate-client from asynchronous_schedules.py: change that file instead.
"""Schedules: a method for each route. `schedule` is an id or a name."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Unpack, cast

from podling.client import schedules
from podling.client.blocking_base import PAGE, Caller
from podling.client.models import Fire, Schedule, ScheduleFields, Task
from podling.client.program import new_key


class Schedules(Caller):
    """What submits tasks by the clock."""

    def schedules(self, *, limit: int | None = None, page: int = PAGE) -> Iterator[Schedule]:
        """Yield schedules, the newest first and at most `limit`, page by page."""
        return cast(Iterator[Schedule], self.items(schedules.listing, limit=limit, page=page))

    def schedule(self, schedule: str) -> Schedule:
        """Return a schedule, when it fires next, and what came of it last. Raises NotFound."""
        return cast(Schedule, self.send(schedules.read(schedule)))

    def create_schedule(self, name: str, **fields: Unpack[ScheduleFields]) -> Schedule:
        """Make a schedule; the fields are those of `POST /schedules`. Raises Conflict if there is one."""
        return cast(Schedule, self.send(schedules.create({"name": name, **fields})))

    def replace_schedule(self, name: str, **fields: Unpack[ScheduleFields]) -> Schedule:
        """Replace all of a schedule but its name. Raises NotFound."""
        return cast(Schedule, self.send(schedules.save(name, {"name": name, **fields})))

    def remove_schedule(self, schedule: str) -> None:
        """Remove a schedule; its tasks go on."""
        self.send(schedules.remove(schedule))

    def pause_schedule(self, schedule: str) -> Schedule:
        """Let it fire no more."""
        return cast(Schedule, self.send(schedules.pause(schedule)))

    def resume_schedule(self, schedule: str) -> Schedule:
        """Let it fire from now on; what would have fired meanwhile is not made up for."""
        return cast(Schedule, self.send(schedules.resume(schedule)))

    def run_schedule(self, schedule: str, **overrides: Any) -> Task:
        """Start its task now, with other fields if they are given; return the task. A reply that is lost is
        asked for again, and starts nothing twice.

        Raises Conflict where its tasks run one at a time and the last one has not ended.
        """
        return cast(Task, self.send(schedules.run(schedule, overrides, new_key())))

    def fires(
        self, schedule: str, *, outcome: str | None = None, limit: int | None = None, page: int = PAGE
    ) -> Iterator[Fire]:
        """Yield what was decided of its fire times, the newest first."""
        listing = partial(schedules.fires, schedule, outcome=outcome)
        return cast(Iterator[Fire], self.items(listing, limit=limit, page=page))
