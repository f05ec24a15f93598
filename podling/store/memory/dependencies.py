"""Which tasks wait for which."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from podling.core.graph import Links, ParentEnd, end_of
from podling.core.spec import When
from podling.core.task import Task
from podling.store.memory.sorted_keys import SortedKeys
from podling.store.ports.dependencies import Dependencies


class DependencyTable(Dependencies):
    """`find` gives a task by its id, `check_epoch` raises StaleEpoch."""

    def __init__(self, find: Callable[[str], Task | None], check_epoch: Callable[[int], None]) -> None:
        self._find = find
        self._check_epoch = check_epoch
        self._ends: dict[str, dict[str, ParentEnd | None]] = {}  # by child, then by parent
        self._whens: dict[str, dict[str, When]] = {}
        self._open: defaultdict[str, dict[str, None]] = defaultdict(dict)  # the children of each parent
        self._children: SortedKeys[tuple[str]] = SortedKeys()

    def missing(self, task: Task, new_ids: frozenset[str]) -> str | None:
        """Return the first of the task's parents that is not there, nor made by the same commit."""
        ids = (each.task_id for each in task.spec.depends_on if each.task_id not in new_ids)
        return next((parent_id for parent_id in ids if self._find(parent_id) is None), None)

    def put(self, task: Task) -> None:
        """Keep what a new task waits for."""
        child = task.task_id
        self._whens[child] = {each.task_id: each.when for each in task.spec.depends_on}
        self._ends[child] = dict.fromkeys(self._whens[child])
        for parent in self._whens[child]:
            self._open[parent][child] = None
            self._note(child, parent)
        self._children.add((child,))

    def forget(self, child: str) -> None:
        """The task waits no more."""
        if child not in self._ends:
            return
        for parent in self._ends.pop(child):
            self._close(child, parent)
        del self._whens[child]
        self._children.remove((child,))

    async def note_ends(self, parent_ids: Sequence[str], limit: int, epoch: int) -> Sequence[str]:
        self._check_epoch(epoch)
        links = ((child, parent) for parent in parent_ids for child in tuple(self._open.get(parent, ())))
        return list(islice((child for child, parent in links if self._note(child, parent)), limit))

    async def note_ends_for(self, child_ids: Sequence[str], limit: int, epoch: int) -> int:
        self._check_epoch(epoch)
        links = ((child, parent) for child in child_ids for parent in self._ends.get(child, ()))
        return len(list(islice((link for link in links if self._note(*link, gone=True)), limit)))

    def _note(self, child: str, parent: str, *, gone: bool = False) -> bool:
        """Note how the parent has ended if nobody has; return whether there is news."""
        if self._ends[child][parent] is not None:
            return False
        task = self._find(parent)
        end = (ParentEnd.GONE if gone else None) if task is None else end_of(task.status)
        if end is None:
            return False
        self._ends[child][parent] = end
        self._close(child, parent)
        return True

    def _close(self, child: str, parent: str) -> None:
        if (children := self._open.get(parent)) is not None:
            children.pop(child, None)
            if not children:
                del self._open[parent]

    async def links(self, child_ids: Sequence[str]) -> Mapping[str, Sequence[Links]]:
        return {child: self._links(child) for child in child_ids if child in self._ends}

    def _links(self, child: str) -> list[Links]:
        whens = self._whens[child]
        groups: dict[tuple[When, ParentEnd | None], list[str]] = {}
        for parent, end in self._ends[child].items():
            groups.setdefault((whens[parent], end), []).append(parent)
        return [
            Links(when=when, end=end, count=len(parents), example=min(parents))
            for (when, end), parents in groups.items()
        ]

    async def waiting(self, after: str, limit: int) -> Sequence[str]:
        later = (child for (child,) in self._children.ascending((after,)) if child != after)
        return list(islice(later, limit))
