"""`/api/v1/doctor`, and what it is told by workers."""

from aiohttp import web

from podling.core.access import Role
from podling.core.errors import InvalidInput, TooLarge
from podling.core.facts import WorkerFacts, check_facts
from podling.master.api.http import answer, path_id, query, read_body
from podling.master.api.keys import CONTEXT, FACTS
from podling.master.api.route import Node, Route, get, post
from podling.master.operations import doctor
from podling.wire.codec import decode

SCOPES = ("cluster", "master")
MOST_BYTES = 64 * 1024


def routes() -> list[Route]:
    return [
        get("/api/v1/doctor", examine, Role.OPERATOR),
        post("/api/v1/nodes/{id}/facts", keep_facts, Role.WORKER, node=Node.IN_PATH),
    ]


async def examine(request: web.Request) -> web.Response:
    scope = query(request, "scope").get("scope", SCOPES[0])
    if scope not in SCOPES:
        raise InvalidInput.field("scope", f"must be one of {', '.join(SCOPES)}")
    found = await doctor.examine(request.app[CONTEXT], request.app[FACTS], scope == SCOPES[0])
    return answer(found)


async def keep_facts(request: web.Request) -> web.Response:
    """Take what a worker tells of its clock, disks and engines."""
    node_id = path_id(request, "node")
    body = await read_body(request)
    if len(body) > MOST_BYTES:
        raise TooLarge(f"a worker has no more than {MOST_BYTES} bytes to tell of its machine")
    facts = decode(WorkerFacts, body)
    if facts.at.tzinfo is None:
        raise InvalidInput.field("at", "must be a time such as 2026-01-31T12:00:00Z")
    check_facts(facts)
    doctor.keep_facts(request.app[CONTEXT], request.app[FACTS], node_id, facts)
    return answer({"message": "saved"})
