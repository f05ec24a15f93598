"""`/openapi.json`, and the page that shows it: both hold no secret, and whoever asks reads them."""

import re
from collections.abc import Sequence
from functools import cache, cached_property

from aiohttp import web

from podling.kit.front import prefix_of
from podling.master.api.http import query
from podling.master.api.keys import CONTEXT, CONTRACT
from podling.master.api.page import ADDRESS, content_policy, render
from podling.master.api.route import Route, get
from podling.wire.codec import encode
from podling.wire.openapi.document import Exposed, document

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)


class Contract:
    """The document of these routes and its pages, each made once, when somebody asks for it.

    Raises KeyError for a route that nobody described.
    """

    def __init__(self, routes: Sequence[Route], version: str) -> None:
        self._version = version
        self._document = document([_exposed(route) for route in routes], version)
        self.page = cache(self._page)

    @cached_property
    def body(self) -> bytes:
        """Return the document as it is sent."""
        return encode(self._document)

    def _page(self, with_tokens: bool) -> tuple[str, str]:
        """Return the page and its content security policy."""
        page = render(self._document, self._version, with_tokens=with_tokens)
        return page, content_policy(page)


def routes() -> list[Route]:
    return [
        get("/openapi.json", get_document, None, urgent=False),
        get("/docs", get_page, None, urgent=False),
    ]


def _exposed(route: Route) -> Exposed:
    role = None if route.role is None else route.role.value
    return Exposed(method=route.method, path=route.path, role=role)


async def get_document(request: web.Request) -> web.Response:
    query(request)
    return web.Response(body=request.app[CONTRACT].body, content_type="application/json")


async def get_page(request: web.Request) -> web.Response:
    query(request)
    with_tokens = not request.app[CONTEXT].credentials.is_open
    page, policy = request.app[CONTRACT].page(with_tokens)
    return web.Response(
        text=page.replace(ADDRESS, _asked(request)),
        content_type="text/html",
        headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"},
    )


def _asked(request: web.Request) -> str:
    """Return the address at which the master was asked, if nothing else can stand in it."""
    host = request.headers.get("Host", "")
    if _HOST.fullmatch(host):
        return f"{request.scheme}://{host}{prefix_of(request)}"
    return request.app[CONTEXT].options.advertise_url
