"""`/api/v1/decisions`, `/api/v1/ingest/decisions` and `/api/v1/policy`."""

from dataclasses import replace

from aiohttp import web

from podling.core.access import Role
from podling.master.api.cursor import after, cursor_of
from podling.master.api.http import answer, next_page, query, whole_number
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, get
from podling.master.operations import decisions
from podling.store.ports.decisions import DecisionQuery
from podling.wire.codec import rfc3339
from podling.wire.policy import policy_view

MOST_PER_PAGE = 500
_LISTED = ("taskId", "code", "limit", "cursor")


def routes() -> list[Route]:
    return [
        get("/api/v1/decisions", list_decisions, Role.READER),
        get("/api/v1/ingest/decisions", list_door_decisions, Role.READER),
        get("/api/v1/policy", get_policy, Role.READER),
    ]


async def list_decisions(request: web.Request) -> web.Response:
    return await _listed(request, at_door=False)


async def list_door_decisions(request: web.Request) -> web.Response:
    """What was refused when it came in, and nothing that was decided later."""
    return await _listed(request, at_door=True)


async def _listed(request: web.Request, at_door: bool) -> web.Response:
    given = query(request, *_LISTED)
    cursor = given.get("cursor")
    asked = DecisionQuery(
        task_id=given.get("taskId"),
        code=given.get("code"),
        at_door=at_door,
        after=None if cursor is None else after(cursor),
        limit=whole_number(given.get("limit"), "limit", 1, MOST_PER_PAGE) or MOST_PER_PAGE,
    )
    found = await decisions.find(request.app[CONTEXT], replace(asked, limit=asked.limit + 1))
    page = found[: asked.limit]
    more = len(found) > len(page)
    headers = next_page(request, cursor_of(page[-1].at, page[-1].decision_id)) if more else None
    return answer(page, headers=headers)


async def get_policy(request: web.Request) -> web.Response:
    """The one in force at the master that is asked."""
    held = request.app[CONTEXT].policy
    body = {
        "policy": policy_view(held.policy),
        "source": held.source,
        "loadedAt": rfc3339(held.loaded_at),
        "problem": held.problem,
    }
    return answer(body)
