"""The calls about workflows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post


def submit(workflow: Mapping[str, Any], key: str) -> Call[JsonObject]:
    """Submit a graph. `key` makes it safe to send again: the same key gives the same workflow."""
    call = post(path_of("workflows"), json_object, dict(workflow))
    request = replace(call.request, headers={"Idempotency-Key": key}, repeatable=True)
    return replace(call, request=request)


def listing(*, limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List workflows, newest first."""
    return get(path_of("workflows"), json_page, limit=limit, cursor=cursor)


def read(workflow_id: str) -> Call[JsonObject]:
    return get(path_of("workflows", workflow_id), json_object)


def cancel(workflow_id: str) -> Call[JsonObject]:
    """Stop all of its tasks that have not ended."""
    return post(path_of("workflows", workflow_id, "cancel"), json_object)
