"""The calls about dead letters."""

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of, post


def listing(
    *,
    queue: str | None = None,
    reason: str | None = None,
    error_code: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List them, the last failed first."""
    filters = {"queue": queue, "reason": reason, "errorCode": error_code}
    return get(path_of("dlq"), json_page, limit=limit, cursor=cursor, **filters)


def replay(
    *,
    queue: str | None = None,
    reason: str | None = None,
    error_code: str | None = None,
    to_queue: str | None = None,
    run_at: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[JsonObject]:
    """Replay a page of them; with `more` in the answer, go on at its `nextCursor`."""
    body = _body(queue, reason, error_code, limit, cursor, toQueue=to_queue, runAt=run_at)
    return post(path_of("dlq", "replay"), json_object, body)


def dismiss(
    *,
    queue: str | None = None,
    reason: str | None = None,
    error_code: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[JsonObject]:
    """Take a page of them off the list; with `more` in the answer, go on at its `nextCursor`."""
    body = _body(queue, reason, error_code, limit, cursor)
    return post(path_of("dlq", "dismiss"), json_object, body)


def dismiss_task(task_id: str) -> Call[JsonObject]:
    """Take one task off the list."""
    return post(path_of("tasks", task_id, "dismiss"), json_object)


def _body(
    queue: str | None,
    reason: str | None,
    error_code: str | None,
    limit: int | None,
    cursor: str | None,
    **more: str | None,
) -> JsonObject | None:
    filters = {"queue": queue, "reason": reason, "errorCode": error_code}
    body = {**filters, "limit": limit, "cursor": cursor, **more}
    return {name: item for name, item in body.items() if item is not None} or None
