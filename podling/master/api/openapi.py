"""`/openapi.json`, and the page that shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from podling.core.access import Role
from podling.master.api.http import answer
from podling.master.api.keys import CONTEXT, DOCUMENT
from podling.master.api.page import render
from podling.master.api.route import Route, get
from podling.wire.openapi.document import Exposed, document


def routes() -> list[Route]:
    return [
        get("/openapi.json", get_document, Role.READER),
        get("/docs", get_page, Role.READER),
    ]


def document_of(routes: Sequence[Route], version: str) -> Mapping[str, Any]:
    """Return the document of these routes."""
    return document([_exposed(route) for route in routes], version)


def _exposed(route: Route) -> Exposed:
    role = None if route.role is None else route.role.value
    return Exposed(method=route.method, path=route.path, role=role)


async def get_document(request: web.Request) -> web.Response:
    return answer(request.app[DOCUMENT])


async def get_page(request: web.Request) -> web.Response:
    page = render(request.app[DOCUMENT], request.app[CONTEXT].options.version)
    return web.Response(text=page, content_type="text/html")
