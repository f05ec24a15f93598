"""`/api/v1/tokens` and `/api/v1/audit`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from podling.core.access import Role
from podling.core.audit import Outcome
from podling.core.errors import InvalidInput
from podling.core.page import cursor_of, place_of
from podling.master.api.http import (
    answer,
    moment,
    next_page,
    page_limit,
    path_id,
    query,
    read_object,
    whole_number,
)
from podling.master.api.keys import AUDIT, AUDITED, CONTEXT, PRINCIPAL
from podling.master.api.route import Route, delete, get, post
from podling.master.operations import tokens
from podling.store.ports.audit import AuditQuery, AuditRow
from podling.wire.tokens import audit_view, parse_token_request, token_view

_AUDIT = ("actor", "action", "outcome", "since", "until", "limit", "cursor")


def routes() -> list[Route]:
    base = "/api/v1/tokens"
    return [
        post(base, create, Role.ADMIN),
        get(base, list_tokens, Role.ADMIN),
        delete(f"{base}/{{id}}", revoke, Role.ADMIN),
        get("/api/v1/audit", list_audit, Role.ADMIN),
    ]


async def create(request: web.Request) -> web.Response:
    """The one answer that shows a secret; no cache may keep it."""
    asked = parse_token_request(await read_object(request))
    token, secret = await tokens.create(request.app[CONTEXT], request[PRINCIPAL], asked)
    request[AUDITED]["tokenId"] = token.token_id
    return answer(token_view(token, secret), 201, {"Cache-Control": "no-store"})


async def list_tokens(request: web.Request) -> web.Response:
    given = query(request, "limit", "cursor")
    limit = page_limit(given)
    found = await tokens.list_tokens(request.app[CONTEXT])
    if (cursor := given.get("cursor")) is not None:
        places = [place for place, token in enumerate(found) if token.token_id == cursor]
        if not places:
            raise InvalidInput.field("cursor", "is not one that a list gave")
        found = found[places[0] + 1 :]
    page = found[:limit]
    headers = next_page(request, page[-1].token_id) if len(found) > limit else None
    return answer([token_view(token) for token in page], headers=headers)


async def revoke(request: web.Request) -> web.Response:
    return answer(token_view(await tokens.revoke_token(request.app[CONTEXT], path_id(request, "token"))))


async def list_audit(request: web.Request) -> web.Response:
    asked = _audit_query(query(request, *_AUDIT))
    await request.app[AUDIT].flush()
    found = await request.app[CONTEXT].store.audit.find(replace(asked, limit=asked.limit + 1))
    page = found[: asked.limit]
    headers = next_page(request, _cursor_of(page[-1])) if len(found) > asked.limit else None
    return answer([audit_view(row.entry) for row in page], headers=headers)


def _audit_query(given: Mapping[str, str]) -> AuditQuery:
    method, _, route = given.get("action", "").partition(" ")
    return AuditQuery(
        actor=given.get("actor"),
        method=method or None,
        route=route or None,
        outcome=_outcome(given.get("outcome")),
        since=moment(given.get("since"), "since"),
        until=moment(given.get("until"), "until"),
        before=_place_of(given.get("cursor")),
        limit=page_limit(given),
    )


def _cursor_of(row: AuditRow) -> str:
    at, number = row.place
    return cursor_of((at, str(number)))


def _place_of(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    at, number = place_of(cursor)
    place = whole_number(number, "cursor", 1, 10**18)
    return None if place is None else (at, place)


def _outcome(text: str | None) -> Outcome | None:
    try:
        return None if text is None else Outcome(text)
    except ValueError:
        raise InvalidInput.field("outcome", f"must be one of {', '.join(Outcome)}") from None
