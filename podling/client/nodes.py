"""The calls about nodes."""

from collections.abc import Sequence
from dataclasses import replace

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post, query_of


def listing(
    *,
    status: str | None = None,
    labels: Sequence[str] = (),
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List nodes, newest registration first. A label is a selector such as `k=v`."""
    return get(path_of("nodes"), json_page, status=status, label=labels, limit=limit, cursor=cursor)


def read(node_id: str) -> Call[JsonObject]:
    return get(path_of("nodes", node_id), json_object)


def cordon(node_id: str) -> Call[JsonObject]:
    """Give the node no new work; what runs there goes on."""
    return post(path_of("nodes", node_id, "cordon"), json_object)


def uncordon(node_id: str) -> Call[JsonObject]:
    return post(path_of("nodes", node_id, "uncordon"), json_object)


def drain(node_id: str, deadline_seconds: float | None = None) -> Call[JsonObject]:
    """Empty the node; what still runs after the deadline is stopped and goes elsewhere."""
    body = None if deadline_seconds is None else {"deadlineSeconds": deadline_seconds}
    return post(path_of("nodes", node_id, "drain"), json_object, body)


def revoke(node_id: str) -> Call[JsonObject]:
    """End the node's own credential, and its session with it; what runs there goes on for a lease."""
    call = post(path_of("nodes", node_id, "credential"), json_object)
    return replace(call, request=replace(call.request, method="DELETE", repeatable=True))


def remove(node_id: str, *, lost: bool = False, held: str | None = None) -> Call[JsonObject]:
    """Take the node off the list; `lost` also gives up at once what was there.

    `held` is what becomes of tasks that would wait for it: retry, completed, failed or cancelled.
    """
    call = post(path_of("nodes", node_id), json_object)
    query = query_of(lost=lost, held=held)
    return replace(call, request=replace(call.request, method="DELETE", query=query))
