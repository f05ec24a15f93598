"""`/api/v1/dlq`, and `/api/v1/tasks/{id}/dismiss`."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.core.dead_letters import DeadLetterReason
from podling.core.errors import InvalidInput
from podling.core.fields import check_identifier, check_text, one_of
from podling.core.page import Place, cursor_of, place_of
from podling.master.api.http import (
    MOST_PER_PAGE,
    answer,
    moment,
    next_page,
    page_after,
    page_limit,
    path_id,
    query,
    read_object,
)
from podling.master.api.keys import AUDITED, CONTEXT, PRINCIPAL
from podling.master.api.route import Route, get, post
from podling.master.operations import dead_letters, tasks
from podling.store.ports.dead_letters import DeadLetterQuery
from podling.wire.body import refuse_unknown
from podling.wire.errors import error_body
from podling.wire.tasks import task_view

_FILTERS = ("queue", "reason", "errorCode")
_PAGED = (*_FILTERS, "limit", "cursor")


def routes() -> list[Route]:
    return [
        get("/api/v1/dlq", list_letters, Role.READER),
        post("/api/v1/dlq/replay", replay_letters, Role.SUBMITTER),
        post("/api/v1/dlq/dismiss", dismiss_letters, Role.SUBMITTER),
        post("/api/v1/tasks/{id}/dismiss", dismiss, Role.SUBMITTER),
    ]


async def list_letters(request: web.Request) -> web.Response:
    context, given = request.app[CONTEXT], query(request, *_PAGED)
    asked = _query(given, page_after(given), page_limit(given))
    page = await dead_letters.page(context, asked)
    headers = None if page.next_place is None else next_page(request, cursor_of(page.next_place))
    errors = tasks.scheduling_errors(context, page.tasks)
    return answer(list(map(task_view, page.tasks, errors)), headers=headers)


async def replay_letters(request: web.Request) -> web.Response:
    given = await _body(request, "toQueue", "runAt")
    queue = given.get("toQueue")
    if queue is not None:
        check_identifier("toQueue", queue)
    run_at = moment(given.get("runAt"), "runAt")
    done = await dead_letters.replay_many(
        request.app[CONTEXT], _query_in(given), queue, run_at, request[PRINCIPAL]
    )
    request[AUDITED]["count"] = str(len(done.replayed))
    body = {
        "replayed": done.replayed,
        "refused": [{"taskId": each.task_id} | error_body(each.error) for each in done.refused],
    }
    return answer(body | _left(done.next_place))


async def dismiss_letters(request: web.Request) -> web.Response:
    given = await _body(request)
    done = await dead_letters.dismiss_many(request.app[CONTEXT], _query_in(given), request[PRINCIPAL])
    request[AUDITED]["count"] = str(done.dismissed)
    return answer({"dismissed": done.dismissed} | _left(done.next_place))


async def dismiss(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    task = await dead_letters.dismiss(context, path_id(request, "task"), request[PRINCIPAL])
    return answer(task_view(task, None))


async def _body(request: web.Request, *more: str) -> dict[str, Any]:
    """Return what the body says; its filters are kept in the audit."""
    plain = await read_object(request, optional=True)
    refuse_unknown(plain, frozenset({*_PAGED, *more}))
    given = {name: item for name, item in plain.items() if item is not None}
    for name, item in given.items():
        if name != "limit" and not isinstance(item, str):
            raise InvalidInput.field(name, "must be a string")
        if isinstance(item, str):
            check_text(name, item)
    request[AUDITED].update({name: given[name] for name in _FILTERS if name in given})
    return given


def _query_in(given: Mapping[str, Any]) -> DeadLetterQuery:
    limit = given.get("limit", MOST_PER_PAGE)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_PER_PAGE:
        raise InvalidInput.field("limit", f"must be a whole number from 1 to {MOST_PER_PAGE}")
    return _query(given, place_of(given["cursor"]) if "cursor" in given else None, limit)


def _query(given: Mapping[str, Any], after: Place | None, limit: int) -> DeadLetterQuery:
    reason = given.get("reason")
    return DeadLetterQuery(
        queue=given.get("queue"),
        reason=None if reason is None else one_of(DeadLetterReason, "reason", reason),
        error_code=given.get("errorCode"),
        after=after,
        limit=limit,
    )


def _left(next_place: Place | None) -> dict[str, Any]:
    return {
        "more": next_place is not None,
        "nextCursor": None if next_place is None else cursor_of(next_place),
    }
