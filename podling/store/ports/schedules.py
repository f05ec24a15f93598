"""The port for schedules: the rules, how far each has come, and what was decided of each fire time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from podling.core.schedule import Fire, FireWrite, Outcome, Schedule, ScheduleEntry
from podling.core.value import value
from podling.store.ports.maintained import FORGETTING_SECONDS, Forgotten

Revision = tuple[int, int]
"""How many there are, and the sum of their versions."""


@value
class FireQuery:
    """Newest first by (fire_time, manual); `after` is the last seen."""

    schedule_id: str
    outcome: Outcome | None = None
    after: tuple[datetime, bool] | None = None
    limit: int = 500


class Schedules(Protocol):
    """A part of `Store`. A fire that starts a task is written with that task, see `TaskWrite.fire`.

    Of two decisions about one time the first one holds; a decision about what is no more, or has another
    version, does not.
    """

    async def add(self, schedule: Schedule, cursor: datetime) -> Schedule | None:
        """Keep a new schedule; return it with its version, None if its name is taken."""

    async def change(self, schedule: Schedule, cursor: datetime | None) -> Schedule | None:
        """Replace what has the schedule's version; return it with its new one, None if it has another.

        With a cursor it goes on from there, else from where it is. None, too, if its new name is taken.
        """

    async def remove(self, schedule_id: str) -> bool:
        """Remove it with its fires; its tasks stay."""

    async def find(self, id_or_name: str) -> ScheduleEntry | None: ...

    async def load(
        self, after: tuple[datetime, str] | None = None, limit: int | None = None
    ) -> Sequence[ScheduleEntry]:
        """Return schedules, newest first by (created_at, schedule_id)."""

    async def revision(self) -> Revision:
        """Return what is another one after every `add`, `change` and `remove`."""

    async def news(self, version: int) -> tuple[Revision, Sequence[ScheduleEntry]]:
        """Return the revision, and of that same moment the schedules that have a newer version."""

    async def versions(self) -> Mapping[str, int]:
        """Return the version of every schedule, by id."""

    async def record(self, writes: Sequence[FireWrite], epoch: int) -> Sequence[bool]:
        """Keep decisions that start no task; return for each whether it holds."""

    async def set_cursor(self, schedule_ids: Sequence[str], cursor: datetime, epoch: int) -> None:
        """Let these go on from there, also backwards."""

    async def fires(self, query: FireQuery) -> Sequence[Fire]: ...

    async def prune(self, before: datetime, most: int, seconds: float = FORGETTING_SECONDS) -> Forgotten:
        """Remove fires decided before that moment, and the oldest beyond so many.

        After `seconds` the rest is left for another call.
        """
