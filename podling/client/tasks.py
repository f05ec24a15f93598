"""The calls about tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from podling.client.call import (
    Call,
    JsonObject,
    Page,
    get,
    json_array,
    json_object,
    json_page,
    path_of,
    post,
    text,
)

SUBMIT_PATIENCE_SECONDS = 5.0


def submit(spec: Mapping[str, Any], key: str) -> Call[JsonObject]:
    """Submit a task. `key` makes it safe to send again: the same key gives the same task."""
    call = post(path_of("tasks"), json_object, dict(spec))
    request = replace(
        call.request,
        headers={"Idempotency-Key": key},
        repeatable=True,
        patience_seconds=SUBMIT_PATIENCE_SECONDS,
    )
    return replace(call, request=request)


def submit_batch(specs: Sequence[Mapping[str, Any]]) -> Call[list[JsonObject]]:
    """Submit many; per item `{taskId}` or `{error}`, in order. Keys go into the items."""
    call = post("/tasks:batch", json_array, {"tasks": [dict(spec) for spec in specs]})
    with_keys = all(spec.get("idempotencyKey") for spec in specs)
    return replace(call, request=replace(call.request, repeatable=with_keys))


def listing(
    *,
    statuses: Sequence[str] = (),
    queue: str | None = None,
    node: str | None = None,
    name: str | None = None,
    labels: Sequence[str] = (),
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List tasks, newest first. A label is a selector such as `k=v`."""
    return get(
        path_of("tasks"),
        json_page,
        status=",".join(statuses) or None,
        queue=queue,
        node=node,
        name=name,
        label=labels,
        limit=limit,
        cursor=cursor,
    )


def read(task_id: str) -> Call[JsonObject]:
    return get(path_of("tasks", task_id), json_object)


def parents(task_id: str, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List what the task depends on, in that order, with their results."""
    return get(path_of("tasks", task_id, "parents"), json_page, limit=limit, cursor=cursor)


def attempts(task_id: str, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List the tries at the task, oldest first."""
    return get(path_of("tasks", task_id, "attempts"), json_page, limit=limit, cursor=cursor)


def timeline(task_id: str, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List what happened to the task, oldest first."""
    return get(path_of("tasks", task_id, "timeline"), json_page, limit=limit, cursor=cursor)


def explain(task_id: str) -> Call[JsonObject]:
    return get(path_of("tasks", task_id, "explain"), json_object)


def logs(
    task_id: str,
    *,
    attempt: int | None = None,
    stream: str | None = None,
    tail: int | None = None,
    since: str | None = None,
    follow: bool = False,
) -> Call[str]:
    """The output of an attempt (the newest unless named); with `follow`, for a client's `stream`.

    `since` is a time in RFC 3339.
    """
    return get(
        path_of("tasks", task_id, "logs"),
        text,
        attempt=attempt,
        stream=stream,
        tail=tail,
        since=since,
        follow=follow,
    )


def cancel(task_id: str) -> Call[JsonObject]:
    """Stop the task. Sent twice it changes nothing more."""
    call = post(path_of("tasks", task_id, "cancel"), json_object)
    return replace(call, request=replace(call.request, repeatable=True))


def retry(task_id: str) -> Call[JsonObject]:
    """Let the next attempt of a waiting task start now."""
    return post(path_of("tasks", task_id, "retry"), json_object)


def resolve(task_id: str, outcome: str, *, attempt: int | None = None) -> Call[JsonObject]:
    """Say what became of a held task: `retry`, `completed`, `failed` or `cancelled`.

    With `attempt` nothing is done if another one is held by now.
    """
    given = {"outcome": outcome} | ({} if attempt is None else {"attempt": attempt})
    return post(path_of("tasks", task_id, "resolve"), json_object, given)


def replay(task_id: str, *, queue: str | None = None, run_at: str | None = None) -> Call[JsonObject]:
    """Submit an ended task again, as a new one."""
    given = {"queue": queue, "runAt": run_at}
    body = {name: value for name, value in given.items() if value is not None}
    return post(path_of("tasks", task_id, "replay"), json_object, body or None)
