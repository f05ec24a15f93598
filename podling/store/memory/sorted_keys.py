"""Keys in order, in many short lists, so that none of hundreds of thousands is ever moved at once."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

_Key = TypeVar("_Key", bound=tuple[Any, ...])

_LONGEST = 512


class SortedKeys(Generic[_Key]):
    """A set of distinct tuples; adding and removing cost about the same whatever its size."""

    def __init__(self) -> None:
        self._chunks: list[list[_Key]] = []  # none is empty
        self._lasts: list[_Key] = []  # the last key of each chunk
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_Key]:
        return self.ascending()

    def first(self) -> _Key | None:
        return self._chunks[0][0] if self._chunks else None

    def add(self, key: _Key) -> None:
        """Add a key that is not there yet."""
        self._count += 1
        if not self._chunks:
            self._chunks, self._lasts = [[key]], [key]
            return
        index = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[index]
        insort(chunk, key)
        self._lasts[index] = chunk[-1]
        if len(chunk) > _LONGEST:
            self._split(index)

    def remove(self, key: _Key) -> None:
        """Remove a key. Raises KeyError if it is not there."""
        index = bisect_left(self._lasts, key)
        chunk = self._chunks[index] if index < len(self._chunks) else []
        position = bisect_left(chunk, key)
        if position == len(chunk) or chunk[position] != key:
            raise KeyError(key)
        self._count -= 1
        del chunk[position]
        if chunk:
            self._lasts[index] = chunk[-1]
        else:
            del self._chunks[index], self._lasts[index]

    def count_before(self, key: tuple[Any, ...], limit: int) -> int:
        """Count the keys before `key`, up to `limit`."""
        index, count = bisect_left(self._lasts, key), 0
        for chunk in self._chunks[:index]:
            count += len(chunk)
            if count >= limit:
                return limit
        if index < len(self._chunks):
            count += bisect_left(self._chunks[index], key)
        return min(count, limit)

    def ascending(self, start: tuple[Any, ...] | None = None) -> Iterator[_Key]:
        """Yield the keys that are not before `start` (None: all), the first one first."""
        index = 0 if start is None else bisect_left(self._lasts, start)
        if start is not None and index < len(self._chunks):
            chunk = self._chunks[index]
            yield from chunk[bisect_left(chunk, start) :]
            index += 1
        for chunk in self._chunks[index:]:
            yield from chunk

    def descending(self, before: tuple[Any, ...] | None = None) -> Iterator[_Key]:
        """Yield the keys before `before` (None: all), the last one first."""
        index = len(self._chunks) if before is None else bisect_left(self._lasts, before)
        if before is not None and index < len(self._chunks):
            yield from reversed(self._chunks[index][: bisect_left(self._chunks[index], before)])
        for chunk in reversed(self._chunks[:index]):
            yield from reversed(chunk)

    def _split(self, index: int) -> None:
        chunk = self._chunks[index]
        middle = len(chunk) // 2
        self._chunks[index : index + 1] = [chunk[:middle], chunk[middle:]]
        self._lasts.insert(index, chunk[middle - 1])
