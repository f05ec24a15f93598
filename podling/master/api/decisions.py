"""`/api/v1/decisions`, `/api/v1/ingest/decisions` and `/api/v1/policy`."""

from dataclasses import replace

from aiohttp import web

from podling.core.access import Role
from podling.core.decision import Decision
from podling.core.page import Place
from podling.master.api.http import answer, page_after, page_headers, page_limit, query
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, get
from podling.master.operations import decisions
from podling.store.ports.decisions import DecisionQuery
from podling.wire.codec import rfc3339
from podling.wire.policy import policy_view

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
    asked = DecisionQuery(
        task_id=given.get("taskId"),
        code=given.get("code"),
        at_door=at_door,
        after=page_after(given),
        limit=page_limit(given),
    )
    found = await decisions.find(request.app[CONTEXT], replace(asked, limit=asked.limit + 1))
    return answer(found[: asked.limit], headers=page_headers(request, found, asked.limit, _place))


def _place(decision: Decision) -> Place:
    return decision.at, decision.decision_id


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
