"""Specs by task id: they never change, so what was read or written once is kept."""

from collections import OrderedDict
from collections.abc import Iterable

from podling.core.spec import TaskSpec
from podling.core.task import Task
from podling.store.postgres.pool import Connection
from podling.store.postgres.queries import load
from podling.store.postgres.rows import from_json

_SQL = load("tasks")


class SpecCache:
    """The specs used last, `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._specs: OrderedDict[str, TaskSpec] = OrderedDict()

    def keep(self, tasks: Iterable[Task]) -> None:
        """Remember the specs of tasks that are stored."""
        for task in tasks:
            self._put(task.task_id, task.spec)

    async def find(self, connection: Connection, task_ids: Iterable[str]) -> dict[str, TaskSpec]:
        """Return the specs by task id, reading those that are not here."""
        found: dict[str, TaskSpec] = {}
        missing = []
        for task_id in task_ids:
            spec = self._specs.get(task_id)
            if spec is None:
                missing.append(task_id)
            else:
                self._specs.move_to_end(task_id)
                found[task_id] = spec
        for row in await connection.fetch(_SQL.specs, missing) if missing else ():
            spec = from_json(TaskSpec, row["body"])
            self._put(row["task_id"], spec)
            found[row["task_id"]] = spec
        return found

    def _put(self, task_id: str, spec: TaskSpec) -> None:
        self._specs[task_id] = spec
        self._specs.move_to_end(task_id)
        if len(self._specs) > self._size:
            self._specs.popitem(last=False)
