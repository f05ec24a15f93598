"""How a machine becomes a node: whom it has to trust."""

from aiohttp import web

from podling.core.errors import NotFound
from podling.master.api.keys import CONTEXT
from podling.master.api.route import Route, get


def routes() -> list[Route]:
    return [get("/api/v1/ca.pem", authority, None)]


async def authority(request: web.Request) -> web.Response:
    """Whose signature this master's certificate has; who knows its fingerprint may believe that."""
    certificate = request.app[CONTEXT].options.authority
    if certificate is None:
        raise NotFound("this master does not know who signed its certificate", code="authority_not_found")
    return web.Response(text=certificate, content_type="application/x-pem-file")
