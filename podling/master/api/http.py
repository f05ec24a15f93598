"""What all handlers share: reading requests, writing answers, errors in one shape."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web

from podling.core.errors import (
    InvalidInput,
    NotFound,
    PodlingError,
    TooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from podling.core.page import Place, cursor_of, place_of
from podling.kit.framing import TornBody, check_framing, no_route
from podling.kit.front import prefix_of
from podling.kit.query import query as query
from podling.master.api.admission import ADMISSION
from podling.master.api.route import Handler
from podling.wire.body import load_object
from podling.wire.codec import encode
from podling.wire.errors import error_body, status_of

_log = logging.getLogger(__name__)

MOST_PER_PAGE = 500
MOST_BODY_BYTES = 4 * 1024 * 1024
# Plain `curl -d` calls everything a form, and `requests` without a type calls it octets.
MEDIA_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "application/octet-stream"})
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_Item = TypeVar("_Item")


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return JSON."""
    return web.Response(body=encode(body), status=status, content_type="application/json", headers=headers)


def error_answer(error: PodlingError) -> web.Response:
    wait = str(error.details.get("retryAfterSeconds", 1))
    headers = {"Retry-After": wait} if isinstance(error, Unavailable | TooManyRequests) else None
    return answer(error_body(error), status_of(error), headers)


async def read_body(request: web.Request) -> bytes:
    """Return the body.

    Raises UnsupportedMediaType, TooLarge, InvalidInput for one that is torn, and as `Admission.body`.
    """
    _check_media_type(request)
    if (request.content_length or 0) > MOST_BODY_BYTES:
        raise _too_large()
    try:
        body = await request.app[ADMISSION].body(request, MOST_BODY_BYTES)
    except TornBody as torn:
        raise InvalidInput(str(torn), code="bad_request") from None
    except web.RequestPayloadError:
        raise InvalidInput(
            "the body is torn, or not encoded as its header says", code="bad_request"
        ) from None
    if body is None:
        raise _too_large()
    return body


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MOST_BODY_BYTES} bytes")


async def read_object(request: web.Request, *, optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body; an empty one for none if it is optional."""
    body = await read_body(request)
    return {} if optional and not body else load_object(body)


def refuse_unless_websocket(request: web.Request, socket: web.WebSocketResponse) -> None:
    """Raise InvalidInput for a request that cannot become a WebSocket."""
    if not socket.can_prepare(request):
        raise InvalidInput(
            "this is a WebSocket: send Connection: Upgrade, Upgrade: websocket, Sec-WebSocket-Version: 13"
            " and a Sec-WebSocket-Key",
            code="not_a_websocket",
        )


def _check_media_type(request: web.Request) -> None:
    """Refuse what says of itself that it is not JSON, or that it is packed in an unknown way."""
    if "Content-Type" in request.headers and request.content_type not in MEDIA_TYPES:
        raise UnsupportedMediaType(
            f"the body has to be JSON: send Content-Type: application/json, not {request.content_type[:80]}"
        )
    if (request.charset or "utf-8").lower() not in _CHARSETS:
        raise UnsupportedMediaType(f"the body has to be UTF-8, and not {(request.charset or '')[:80]}")
    if (coding := header(request, "Content-Encoding")) and coding.lower() not in (
        "identity",
        "gzip",
        "deflate",
    ):
        raise UnsupportedMediaType(f"the encoding {coding[:80]!r} is not known; send gzip, deflate or none")


def header(request: web.Request, name: str) -> str | None:
    """Return an optional header. Raises InvalidInput for one that is doubled or not UTF-8."""
    given = request.headers.getall(name, [])
    if len(given) > 1:
        raise InvalidInput.field(name, "must be given once")
    if given and not _is_text(given[0]):
        raise InvalidInput.field(name, "must be UTF-8")
    return given[0] if given else None


def _is_text(text: str) -> bool:
    """Bytes of the request that are not UTF-8 show as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def path_id(request: web.Request, kind: str, name: str = "id") -> str:
    """Return an id from the path; one that cannot be an id is not found."""
    text = request.match_info[name]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", text):
        raise NotFound.of(kind)
    return text


def whole_number(text: str | None, name: str, least: int, most: int) -> int | None:
    """Read an optional whole number from the query."""
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
        raise InvalidInput.field(name, f"must be a whole number from {least} to {most}")
    return int(text)


def moment(text: str | None, name: str) -> datetime | None:
    """Read an optional RFC 3339 time from the query."""
    if text is None:
        return None
    at = instant(text.replace(" ", "+"))
    if at is None:
        raise InvalidInput.field(name, "must be a time such as 2026-01-31T12:00:00Z")
    return at


def instant(text: str) -> datetime | None:
    """Return a time in UTC; None for what is none, has no zone, or lies outside 1970 to 9999."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None and at.year >= 1970 else None
    except (ValueError, OverflowError):
        return None


def boolean(text: str | None, name: str) -> bool:
    """Read an optional boolean from the query; a bare name means true."""
    if text in (None, "false", "0"):
        return False
    if text in ("", "true", "1"):
        return True
    raise InvalidInput.field(name, "must be true or false")


def page_limit(given: Mapping[str, str]) -> int:
    """Read how many items of a list are wanted."""
    return whole_number(given.get("limit"), "limit", 1, MOST_PER_PAGE) or MOST_PER_PAGE


def page_after(given: Mapping[str, str]) -> Place | None:
    """Read after which item a page of a list begins."""
    return place_of(given["cursor"]) if "cursor" in given else None


def page_headers(
    request: web.Request, found: Sequence[_Item], limit: int, place: Callable[[_Item], Place]
) -> dict[str, str] | None:
    """Return the headers of the first `limit` items; one more than those tells that there is a next page."""
    return next_page(request, cursor_of(place(found[limit - 1]))) if len(found) > limit else None


def next_page(request: web.Request, cursor: str) -> dict[str, str]:
    """Return the headers that lead to the next page."""
    url = request.rel_url.update_query(cursor=cursor)
    target = quote(f"{prefix_of(request)}{url}", safe="/?&=%:+,;@")
    return {"Link": f'<{target}>; rel="next"', "X-Next-Cursor": cursor}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into the one shape; a bug is logged and told as a sentence."""
    try:
        check_framing(request)
        return await handler(request)
    except PodlingError as error:
        return _last_if_torn(request, error_answer(error))
    except web.HTTPException as error:
        refusal, status, headers = no_route(request, error)
        return answer(error_body(refusal), status, headers)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception:  # noqa: BLE001 - the last line of defence, logged in full
        _log.exception("%s %s failed", request.method, request.path)
        return error_answer(PodlingError("the master failed on this request; its log says why"))


def _last_if_torn(request: web.Request, response: web.Response) -> web.Response:
    """Nothing that follows a body which could not be read can be read either."""
    if request.content.exception() is not None:
        response.force_close()
    return response
