"""Refusals of HTTP itself, in words of ours: what two programs might read in two ways, and no routes."""

import re
from collections.abc import Mapping

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import (
    BadHttpMethod,
    BadStatusLine,
    ContentEncodingError,
    HttpProcessingError,
    InvalidHeader,
    InvalidURLError,
    LineTooLong,
)

from podling.core.errors import Conflict, InvalidInput, NotFound, PodlingError, UnsupportedMediaType

_CHUNKED = "the only Transfer-Encoding is chunked, given once"
_LENGTH = "Content-Length must be a number of decimal digits"
_TWO_ENDS = "both Content-Length and Transfer-Encoding were sent, so the body may end in two places; send one"
_FIRST_LINE = "the first line must be METHOD /path HTTP/1.1"
_REASONS = {
    "Too many headers received": "the request has more than 128 headers, or trailers",
    "Missing 'Host' header": "the header Host is missing; HTTP/1.1 wants one",
    "Transfer-Encoding can't be present with": _TWO_ENDS,
    "Content-Length can't be present with": _TWO_ENDS,
    "Duplicate Content-Length": "Content-Length was sent twice; send it once",
    "Content-Length overflow": "Content-Length is larger than any body",
    "Empty Content-Length": _LENGTH,
    "Invalid character in Content-Length": _LENGTH,
    "Request has invalid `Transfer-Encoding`": _CHUNKED,
    "Invalid `Transfer-Encoding` header value": _CHUNKED,
    "Invalid character in chunk size": "a chunk of the body must begin with its size in hexadecimal digits",
    "Chunk size overflow": "a chunk of the body says that it is larger than any body",
    "Expected LF after chunk data": "a chunk of the body is longer than its size says",
    "Missing expected CR after chunk size": "each line must end with a carriage return and a line feed",
    "Expected CRLF after version": "each line must end with a carriage return and a line feed",
    "Unexpected whitespace after header value": "a header goes on in a second line; write it in one",
    "Invalid header field char": "a header's name holds a character that none may have, such as a blank",
    "Invalid header token": "a header has no name or no colon, or a character in its name that none may have",
    "Invalid header value char": "a header holds NUL or another control character",
    "Missing expected LF after header value": "a header holds a carriage return",
    "Invalid HTTP version": "this port speaks HTTP/1.1 and HTTP/1.0",
    "Pause on PRI/Upgrade": "this port speaks HTTP/1.1, not HTTP/2",
    "Received HTTPS traffic": "this port speaks http, and https was sent; begin the address with http://",
}
"""What the parser says, by its beginning, and what it means to who has sent it."""

_UNKNOWN_METHOD = re.compile(r"b'([A-Za-z-]{1,20}) [^ ]+ HTTP/1\.[01]'", re.ASCII)


class TornBody(web.RequestPayloadError):
    """The rest of a body cannot be read; the message says why."""


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
        raise InvalidInput(_CHUNKED, code="bad_request")


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


def unreadable(error: BaseException) -> PodlingError:
    """Return what is wrong with a request that the parser did not read."""
    match error:
        case ContentEncodingError():
            return UnsupportedMediaType("the body is not packed as it says; send gzip, deflate or none")
        case LineTooLong():
            return InvalidInput("the path, or a header, is longer than 8190 bytes", code="header_too_large")
        case BadHttpMethod() if unknown := _UNKNOWN_METHOD.search(error.message):
            return Conflict(f"the method {unknown[1]} is not known here", code="method_not_allowed")
    return InvalidInput(_what_is_wrong(error), code="bad_request")


def _what_is_wrong(error: BaseException) -> str:
    told = error.message if isinstance(error, HttpProcessingError) else ""
    if doubled := re.match(r"Duplicate '([A-Za-z-]+)' header", told):
        return f"the header {doubled[1]} was sent twice; send it once"
    told = told.removeprefix("Bad status line:\n  ")
    for beginning, meaning in _REASONS.items():
        if told.startswith(beginning):
            return meaning
    match error:
        case InvalidHeader():
            return "a header holds NUL or another control character"
        case InvalidURLError():
            return "the path must begin with / and be of printable ASCII; write other characters as %XX"
        case BadStatusLine():
            return _FIRST_LINE
    return "the request is not valid HTTP/1.1"
