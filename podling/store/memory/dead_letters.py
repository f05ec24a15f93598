"""The list of dead letters, by id and in order of time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from podling.core.dead_letters import DeadLetter
from podling.core.page import Place
from podling.core.task import TaskEvent
from podling.store.memory.sorted_keys import SortedKeys
from podling.store.ports.dead_letters import DeadLetterQuery, DeadLetters


class DeadLetterTable(DeadLetters):
    def __init__(self, add_events: Callable[[Iterable[TaskEvent]], None]) -> None:
        self._add_events = add_events
        self._by_id: dict[str, DeadLetter] = {}
        self._by_age: SortedKeys[Place] = SortedKeys()

    async def find(self, query: DeadLetterQuery) -> Sequence[DeadLetter]:
        return list(islice(filter(query.means, self._newest_first(query.after)), query.limit))

    async def take_off(self, events: Sequence[TaskEvent]) -> frozenset[str]:
        taken = [event for event in events if self.discard(event.task_id)]
        self._add_events(taken)
        return frozenset(event.task_id for event in taken)

    def put(self, letter: DeadLetter) -> None:
        self._by_id[letter.task_id] = letter
        self._by_age.add(_place(letter))

    def discard(self, task_id: str) -> bool:
        """Remove a letter; False if there is none."""
        letter = self._by_id.pop(task_id, None)
        if letter is not None:
            self._by_age.remove(_place(letter))
        return letter is not None

    def _newest_first(self, after: Place | None) -> Iterator[DeadLetter]:
        for _, task_id in self._by_age.descending(after):
            yield self._by_id[task_id]


def _place(letter: DeadLetter) -> Place:
    return letter.at, letter.task_id
