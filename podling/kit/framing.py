"""What HTTP leaves open and two programs might read in two ways is refused."""

from aiohttp import HttpVersion10, HttpVersion11, web

from podling.core.errors import InvalidInput


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
