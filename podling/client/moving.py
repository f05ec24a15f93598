"""Moves an export's tasks into a cluster, so that doing it again makes no second task."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from podling.client import queues, schedules, tasks
from podling.client.call import Call, JsonObject
from podling.client.program import ENDED, Link, Program, Sleep, exchange, growing_pauses
from podling.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable

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
_NO_LIMITS = frozenset({"name", "running"})
_SAID_OF_SCHEDULES = ("cron", "timeZone", "overlap", "catchUp", "maxCatchUp", "jitterSeconds", "task")


@dataclass(slots=True)
class Moved:
    """What became of an export. `task_ids` leads from the id of a task there to the id here.

    `queues` have the limits here that they had there, `kept` others of their own; `schedules` are here as
    they were there, `schedules_kept` otherwise. With `pauses` schedules come paused.
    """

    pauses: bool = False

    queues: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    schedules: list[str] = field(default_factory=list)
    schedules_kept: list[str] = field(default_factory=list)
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
            "queues": self.queues,
            "queuesKept": self.kept,
            "schedules": self.schedules,
            "schedulesKept": self.schedules_kept,
            "taskIds": self.task_ids,
        }


def move(
    link: Link, exported: Iterable[JsonObject], moved: Moved, tell: Callable[[int], None]
) -> Program[None]:
    """Submit what has not ended, many at once; `tell` is given how many have been accepted so far.

    Queues come before the tasks that wait in them, and get their limits first; then come schedules. Every
    task goes over under its own idempotency key, or else one made of its id. Raises InvalidInput, and
    Unavailable if the masters stay away.
    """
    items = iter(exported)
    for item in items:
        if not is_queue(item) and not is_schedule(item):
            items = chain([item], items)
            break
        yield from (_limit if is_queue(item) else _schedule)(link, item, moved)
    for batch in _batches(_movable(items, moved)):
        yield from _submit(link, batch, moved)
        tell(len(moved.task_ids))


def is_queue(item: JsonObject) -> bool:
    """Whether it is what `GET /queues` gives."""
    return "taskId" not in item and "maxInFlight" in item


def is_schedule(item: JsonObject) -> bool:
    """Whether it is what `GET /schedules` gives."""
    return "taskId" not in item and "cron" in item


def _schedule(link: Link, given: JsonObject, moved: Moved) -> Program[None]:
    """Make the schedule, which goes on after what has fired there, unless there is one of that name."""
    name, wanted = str(given["name"]), {**given, "paused": moved.pauses or given.get("paused") or False}
    try:
        yield from exchange(link, _repeated(schedules.create(wanted)))
    except Conflict as error:
        if error.code != "schedule_exists":
            moved.refused.append({"schedule": name, "error": error.message, "code": error.code})
            return
        here = yield from exchange(link, schedules.read(name).patient(PATIENCE_SECONDS))
        if any(here.get(key) != given.get(key) for key in _SAID_OF_SCHEDULES):
            moved.schedules_kept.append(name)
            return
    except (InvalidInput, Forbidden) as error:
        moved.refused.append({"schedule": name, "error": error.message, "code": error.code})
        return
    moved.schedules.append(name)


def _repeated(call: Call[JsonObject]) -> Call[JsonObject]:
    """Return the call to be sent again if no answer comes: its name keeps it from making two."""
    return replace(call, request=replace(call.request, repeatable=True)).patient(PATIENCE_SECONDS)


def limits_of(queue: JsonObject) -> dict[str, Any]:
    """Return what is said of the queue."""
    return {
        key: given for key, given in queue.items() if key not in _NO_LIMITS and given not in (None, False)
    }


def _limit(link: Link, queue: JsonObject, moved: Moved) -> Program[None]:
    """Say of the queue here what was said of it there, unless something is said of it here."""
    name, wanted = str(queue["name"]), limits_of(queue)
    try:
        there = limits_of((yield from exchange(link, queues.read(name).patient(PATIENCE_SECONDS))))
    except NotFound:
        there = {}
    if there:
        (moved.queues if there == wanted else moved.kept).append(name)
        return
    try:
        yield from exchange(link, queues.save(name, wanted).patient(PATIENCE_SECONDS))
    except (InvalidInput, Forbidden) as error:
        moved.refused.append({"queue": name, "error": error.message, "code": error.code})
        return
    moved.queues.append(name)


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
        is_known = isinstance(item, dict) and (is_queue(item) or is_schedule(item))
        if not is_known and not (isinstance(item, dict) and isinstance(item.get("taskId"), str)):
            raise InvalidInput(f"line {number} is not a task with a taskId: it could become two tasks")
        yield item


def _movable(exported: Iterable[JsonObject], moved: Moved) -> Iterator[tuple[str, JsonObject]]:
    for task in exported:
        if is_queue(task):
            late = "it comes after tasks, which may have started without its limits; import it first"
            moved.refused.append({"queue": task["name"], "error": late})
        elif is_schedule(task):
            moved.refused.append({"schedule": task["name"], "error": "it comes after tasks; import it first"})
        elif task.get("status") in ENDED:
            moved.ended += 1
        elif task.get("status") in _STARTED and task.get("delivery") == "at_most_once":
            moved.started.append(task["taskId"])
        else:
            key = task.get("idempotencyKey") or _made_key(task["taskId"])
            yield task["taskId"], {**task, **_wait_of(task), "idempotencyKey": key}


def _wait_of(task: JsonObject) -> JsonObject:
    """Who was let go there waits for nobody here; who still waits does so by ids, which are others here."""
    return {} if task.get("runAt") is None else {"dependsOn": []}


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
