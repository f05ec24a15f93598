"""The calls about schedules. `schedule` is an id or a name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post


def create(schedule: Mapping[str, Any]) -> Call[JsonObject]:
    return post(path_of("schedules"), json_object, dict(schedule))


def listing(*, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List schedules, newest first."""
    return get(path_of("schedules"), json_page, limit=limit, cursor=cursor)


def read(schedule: str) -> Call[JsonObject]:
    return get(path_of("schedules", schedule), json_object)


def save(schedule: str, body: Mapping[str, Any]) -> Call[JsonObject]:
    """Replace all of it but its name."""
    call = post(path_of("schedules", schedule), json_object, dict(body))
    return replace(call, request=replace(call.request, method="PUT"))


def remove(schedule: str) -> Call[JsonObject]:
    call = post(path_of("schedules", schedule), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def fires(
    schedule: str, *, outcome: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[Page]:
    """List what was decided of its fire times, newest first."""
    path = path_of("schedules", schedule, "fires")
    return get(path, json_page, outcome=outcome, limit=limit, cursor=cursor)


def pause(schedule: str) -> Call[JsonObject]:
    return post(path_of("schedules", schedule, "pause"), json_object)


def resume(schedule: str) -> Call[JsonObject]:
    """Let it fire from now on; what would have fired meanwhile is not made up for."""
    return post(path_of("schedules", schedule, "resume"), json_object)


def run(
    schedule: str, overrides: Mapping[str, Any] | None = None, key: str | None = None
) -> Call[JsonObject]:
    """Start its task now, perhaps with other fields; the answer is the task.

    `key` makes it safe to send again: the same key gives the same task.
    """
    call = post(path_of("schedules", schedule, "run"), json_object, dict(overrides) if overrides else None)
    if key is None:
        return call
    request = replace(call.request, headers={"Idempotency-Key": key}, repeatable=True)
    return replace(call, request=request)
