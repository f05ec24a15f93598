"""The calls about queues."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post


def listing(*, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    return get(path_of("queues"), json_page, limit=limit, cursor=cursor)


def read(name: str) -> Call[JsonObject]:
    return get(path_of("queues", name), json_object)


def save(name: str, limits: Mapping[str, Any]) -> Call[JsonObject]:
    """Declare the queue, or replace all of its limits: what is not named is off.

    `paused` says whether it is paused; not named, that stays as it is.
    """
    call = post(path_of("queues", name), json_object, dict(limits))
    return replace(call, request=replace(call.request, method="PUT"))


def remove(name: str) -> Call[JsonObject]:
    call = post(path_of("queues", name), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def pause(name: str) -> Call[JsonObject]:
    """Start nothing of the queue any more; what runs goes on."""
    return post(path_of("queues", name, "pause"), json_object)


def resume(name: str) -> Call[JsonObject]:
    return post(path_of("queues", name, "resume"), json_object)
