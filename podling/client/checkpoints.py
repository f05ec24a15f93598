"""The calls about checkpoints, progress and results of tasks."""

from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post, query_of


def listing(task_id: str, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List the task's checkpoints, the newest first."""
    return get(path_of("tasks", task_id, "checkpoints"), json_page, limit=limit, cursor=cursor)


def save(
    task_id: str,
    data: Any = None,
    progress: float | None = None,
    estimated_seconds_remaining: float | None = None,
) -> Call[JsonObject]:
    """Save one more; only the attempt itself may. Saved twice, both are there."""
    given = {
        "data": data,
        "progress": progress,
        "estimatedSecondsRemaining": estimated_seconds_remaining,
    }
    body = {name: item for name, item in given.items() if item is not None}
    call = post(path_of("tasks", task_id, "checkpoints"), json_object, body)
    return replace(call, request=replace(call.request, repeatable=True), expected=frozenset({201}))


def remove(task_id: str, keep: int = 0) -> Call[JsonObject]:
    """Remove all but the last so many."""
    call = post(path_of("tasks", task_id, "checkpoints"), json_object)
    return replace(
        call,
        request=replace(call.request, method="DELETE", query=query_of(keep=keep or None), repeatable=True),
    )


def say_progress(task_id: str, progress: float) -> Call[JsonObject]:
    """Say how far the task is, in percent; only the attempt itself may."""
    return _said(post(path_of("tasks", task_id, "progress"), json_object, {"progress": progress}))


def say_result(task_id: str, result: Any) -> Call[JsonObject]:
    """Say what came of the task; only the attempt itself may."""
    return _said(post(path_of("tasks", task_id, "result"), json_object, {"result": result}))


def _said(call: Call[JsonObject]) -> Call[JsonObject]:
    return replace(call, request=replace(call.request, method="PUT", repeatable=True))
