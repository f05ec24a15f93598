"""The calls about tokens and the audit."""

from dataclasses import replace

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post


def create(
    name: str,
    role: str | None,
    expires_seconds: float | None = None,
    *,
    uses: int | None = None,
    node_id: str | None = None,
) -> Call[JsonObject]:
    """Make a token; the answer's `token` is shown this once. The first of all is an admin's.

    With the role `join`, `uses` is how many machines it lets in, and `node_id` the only one.
    """
    asked = {
        "name": name,
        "role": role,
        "expiresSeconds": expires_seconds,
        "uses": uses,
        "nodeId": node_id,
    }
    return post(
        path_of("tokens"), json_object, {key: item for key, item in asked.items() if item is not None}
    )


def listing(limit: int | None = None, cursor: str | None = None) -> Call[Page]:
    """List tokens, newest first, without their secrets."""
    return get(path_of("tokens"), json_page, limit=limit, cursor=cursor)


def revoke(token_id: str) -> Call[JsonObject]:
    """End a token, and what goes on with it; a second time changes nothing."""
    call = post(path_of("tokens", token_id), json_object)
    return replace(call, request=replace(call.request, method="DELETE", repeatable=True))


def audit(
    *,
    actor: str | None = None,
    action: str | None = None,
    outcome: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List who changed what, newest first. Times are in RFC 3339.

    `action` is a method, or a method and the pattern of a route.
    """
    return get(
        path_of("audit"),
        json_page,
        actor=actor,
        action=action,
        outcome=outcome,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
