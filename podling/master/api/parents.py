"""`/api/v1/tasks/{id}/parents`."""

from dataclasses import replace

from aiohttp import web

from podling.core.access import Role
from podling.core.graph import MOST_PARENTS
from podling.master.api.http import answer, next_page, path_id, query, whole_number
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, get
from podling.master.operations.parents import parents_of
from podling.wire.workflows import parent_view

MOST_PER_PAGE = 100  # each may have a result of many bytes


def routes() -> list[Route]:
    read = get("/api/v1/tasks/{id}/parents", get_parents, Role.READER)
    return [replace(read, also=(Role.TASK,))]  # an attempt reads those of its own task


async def get_parents(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = whole_number(given.get("limit"), "limit", 1, MOST_PER_PAGE) or MOST_PER_PAGE
    after = whole_number(given.get("cursor"), "cursor", 1, MOST_PARENTS) or 0
    found = await parents_of(request.app[CONTEXT], path_id(request, "task"), after, limit + 1)
    headers = next_page(request, str(after + limit)) if len(found) > limit else None
    return answer([parent_view(*parent) for parent in found[:limit]], headers=headers)
