"""The calls about what was refused, and the policy by which."""

from podling.client.call import Call, JsonObject, Page, get, json_object, json_page, path_of


def listing(
    *,
    task: str | None = None,
    code: str | None = None,
    incoming: bool = False,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page]:
    """List decisions, newest first; `incoming` ones are those by which something was kept out."""
    path = path_of("ingest", "decisions") if incoming else path_of("decisions")
    return get(path, json_page, taskId=task, code=code, limit=limit, cursor=cursor)


def policy() -> Call[JsonObject]:
    """The policy in force at the master that is asked."""
    return get(path_of("policy"), json_object)
