"""Moves an export's tasks into a cluster, so that doing it again makes no second task."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podling.client import tasks
from podling.client.call import JsonObject
from podling.client.program import ENDED, Link, Program, Sleep, exchange, growing_pauses
from podling.core.errors import InvalidInput, Unavailable

PATIENCE_SECONDS = 60.0
_MOST_ITEMS = 200
_MOST_BYTES = 1024 * 1024
_LATER = frozenset(
    {
        *("overloaded", "store_unavailable", "unavailable", "deadline_exceeded", "stale_epoch"),
        "enqueue_rate_exceeded",
    }
)
_STARTED = frozenset({"scheduled", "running"})


@dataclass(slots=True)
class Moved:
    """What became of an export's tasks. `task_ids` leads from the id there to the id here."""

    task_ids: dict[str, str] = field(default_factory=dict)
    ended: int = 0
    started: list[str] = field(default_factory=list)  # at most once, and may have run: left out
    refused: list[JsonObject] = field(default_factory=list)

    def plain(self) -> JsonObject:
        """Return it as JSON for scripts."""
        return {
            "accepted": len(self.task_ids),
            "ended": self.ended,
            "leftOut": self.started,
            "refused": self.refused,
            "taskIds": self.task_ids,
        }


def move(
    link: Link, exported: Iterable[JsonObject], moved: Moved, tell: Callable[[int], None]
) -> Program[None]:
    """Submit what has not ended, many at once; `tell` is given how many have been accepted so far.

    Every task goes over under its own idempotency key, or else one made of its id. Raises
    InvalidInput, and Unavailable if the masters stay away.
    """
    for batch in _batches(_movable(exported, moved)):
        yield from _submit(link, batch, moved)
        tell(len(moved.task_ids))


def read_export(text: Iterable[str]) -> Iterator[JsonObject]:
    """Read JSON lines, or one JSON array as `GET /tasks` gives it. Raises InvalidInput with the line."""
    lines = iter(text)
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("["):
            yield from _objects(_parsed(line + "".join(lines), number), number)
        elif line.strip():
            yield from _objects([_parsed(line, number)], number)


def _parsed(text: str, number: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"line {number} is not JSON: {error}") from None


def _objects(items: Sequence[Any], number: int) -> Iterator[JsonObject]:
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("taskId"), str):
            raise InvalidInput(f"line {number} is not a task with a taskId: it could become two tasks")
        yield item


def _movable(exported: Iterable[JsonObject], moved: Moved) -> Iterator[tuple[str, JsonObject]]:
    for task in exported:
        if task.get("status") in ENDED:
            moved.ended += 1
        elif task.get("status") in _STARTED and task.get("delivery") == "at_most_once":
            moved.started.append(task["taskId"])
        else:
            key = task.get("idempotencyKey") or _made_key(task["taskId"])
            yield task["taskId"], {**task, "idempotencyKey": key}


def _made_key(task_id: str) -> str:
    return f"import-{task_id}"


def _batches(items: Iterable[tuple[str, JsonObject]]) -> Iterator[list[tuple[str, JsonObject]]]:
    batch: list[tuple[str, JsonObject]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item[1]))
        if batch and (len(batch) == _MOST_ITEMS or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _submit(link: Link, batch: list[tuple[str, JsonObject]], moved: Moved) -> Program[None]:
    give_up = link.clock() + PATIENCE_SECONDS
    for pause in growing_pauses():
        call = tasks.submit_batch([spec for _, spec in batch]).patient(PATIENCE_SECONDS)
        answers = yield from exchange(link, call)
        busy = [item for item, answer in zip(batch, answers, strict=True) if not _take(item, answer, moved)]
        if not busy:
            return
        if link.clock() + pause > give_up:
            raise Unavailable(f"{len(busy)} tasks were not accepted in time; run the import again")
        batch = busy
        yield Sleep(seconds=pause)


def _take(item: tuple[str, JsonObject], answer: Mapping[str, Any], moved: Moved) -> bool:
    """Note the answer for one task; False if it has to be sent again."""
    if answer.get("code") in _LATER:
        return False
    task_id, spec = item
    there = answer.get("taskId")
    if answer.get("code") == "idempotency_mismatch" and spec["idempotencyKey"] == _made_key(task_id):
        # It is what an import made of the same task, which has changed there since. A key that
        # somebody chose may have been used for another task: that is for a person to see.
        there = (answer.get("details") or {}).get("taskId")
    if there:
        moved.task_ids[task_id] = there
    else:
        moved.refused.append({"taskId": task_id, **answer})
    return True
