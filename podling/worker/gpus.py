"""Which of this machine's GPUs each attempt has. The masters count them, the worker says which."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from podling.core.errors import RuntimeFailure
from podling.core.protocol import AttemptKey
from podling.core.retry import ErrorCode
from podling.core.spec import GPU
from podling.worker.runtime.base import ContainerWork, Found

HasEnded = Callable[[AttemptKey], bool]


class Gpus:
    """`ids` are all of them; without any, the engine chooses by number alone.

    An attempt has its GPUs from its first container's making until its end, restarts included. What a
    worker before this one gave away is told by the containers that are there.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids = tuple(ids)
        self._taken: dict[tuple[AttemptKey, str], tuple[str, ...]] = {}

    def adopt(self, found: Iterable[Found]) -> None:
        """Take note of what containers have already."""
        for one in found:
            if one.gpus:
                key = AttemptKey(task_id=one.task_id, attempt=one.attempt)
                self._taken[key, one.container_name] = one.gpus

    def given(self, work: ContainerWork, has_ended: HasEnded) -> ContainerWork:
        """Return the work with GPUs that no other attempt has. Raises RuntimeFailure (RUNTIME)."""
        count = work.container.resources.limits.get(GPU, 0)
        if not count or not self._ids:
            return work
        place = AttemptKey(task_id=work.task_id, attempt=work.attempt), work.container.name
        self._taken = {other: ids for other, ids in self._taken.items() if not has_ended(other[0])}
        if place not in self._taken:
            self._taken[place] = self._choose(count)
        return replace(work, gpus=self._taken[place])

    def _choose(self, count: int) -> tuple[str, ...]:
        taken = {one for ids in self._taken.values() for one in ids}
        free = [one for one in self._ids if one not in taken]
        if len(free) < count:
            raise RuntimeFailure(
                f"The node has {len(free)} GPUs that no other task has, and {count} are wanted.",
                code=ErrorCode.RUNTIME,
            )
        return tuple(free[:count])
