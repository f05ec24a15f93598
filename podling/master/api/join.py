"""How a machine becomes a node: whom it has to trust, and the credential that it gets."""

from aiohttp import web

from podling.core.access import Role
from podling.core.errors import NotFound
from podling.master.api.http import answer, path_id, query, read_object
from podling.master.api.keys import AUDITED, CONTEXT, PRINCIPAL
from podling.master.api.route import Node, Route, delete, get, post
from podling.master.operations import joining
from podling.wire.joining import credential_view, parse_join, parse_renewal


def routes() -> list[Route]:
    credential = "/api/v1/nodes/{id}/credential"
    return [
        get("/api/v1/ca.pem", authority, None),
        post("/api/v1/join", join, Role.JOIN, node=Node.IN_HANDLER),
        post(credential, renew, Role.WORKER, node=Node.IN_PATH, audited=True),
        delete(credential, end, Role.OPERATOR),
    ]


async def authority(request: web.Request) -> web.Response:
    """Whose signature this master's certificate has; who knows its fingerprint may believe that."""
    query(request)
    certificate = request.app[CONTEXT].options.authority
    if certificate is None:
        raise NotFound("this master does not know who signed its certificate", code="authority_not_found")
    return web.Response(text=certificate, content_type="application/x-pem-file")


async def join(request: web.Request) -> web.Response:
    node_id, secret_hash = parse_join(await read_object(request))
    request[AUDITED]["nodeId"] = node_id
    made = await joining.join(request.app[CONTEXT], request[PRINCIPAL], node_id, secret_hash)
    return answer(credential_view(made), 201)


async def renew(request: web.Request) -> web.Response:
    node_id, secret_hash = path_id(request, "node"), parse_renewal(await read_object(request))
    made = await joining.renew(request.app[CONTEXT], request[PRINCIPAL], node_id, secret_hash)
    return answer(credential_view(made), 201)


async def end(request: web.Request) -> web.Response:
    ended = await joining.end(request.app[CONTEXT], path_id(request, "node"))
    return answer({"message": "credential revoked" if ended else "the node has no credential"})
