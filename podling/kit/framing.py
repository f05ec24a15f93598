"""Refusals of HTTP itself, in words of ours: what two programs might read in two ways, and no routes."""

from collections.abc import Mapping

from aiohttp import HttpVersion10, HttpVersion11, web

from podling.core.errors import Conflict, InvalidInput, NotFound, PodlingError


def check_framing(request: web.BaseRequest) -> None:
    """Raise InvalidInput for what the parser lets pass and a proxy may have understood otherwise."""
    if request.version < HttpVersion10:
        raise InvalidInput("send HTTP/1.1; this request names no version", code="bad_request")
    encoding = request.headers.get("Transfer-Encoding")
    if encoding is None:
        return
    if request.version < HttpVersion11:
        raise InvalidInput("HTTP/1.0 has no Transfer-Encoding; send Content-Length", code="bad_request")
    if encoding.strip().lower() != "chunked":
        raise InvalidInput("the only Transfer-Encoding is chunked", code="bad_request")


def no_route(request: web.Request, error: web.HTTPException) -> tuple[PodlingError, int, Mapping[str, str]]:
    """Return what the router's refusal means, its status and its headers."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        problem = f"{request.method} is not allowed here; allowed: {allowed}"
        return Conflict(problem, code="method_not_allowed"), 405, {"Allow": allowed}
    if error.status == 404:
        return NotFound(f"no such path: {request.path[:200]}", code="no_such_path"), 404, {}
    refusal = InvalidInput(error.reason or "the request cannot be read", code="bad_request")
    return refusal, error.status if 400 <= error.status < 500 else 400, {}
