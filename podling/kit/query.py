"""The parameters in a request's query, read without guessing what was meant."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from aiohttp import web

from podling.core.errors import InvalidInput


def query(request: web.Request, *known: str) -> Mapping[str, str]:
    """Return the query's parameters. Raises InvalidInput for one that is unknown, doubled or unreadable."""
    for name in request.query:
        if name not in known:
            raise _unknown_parameter(name[:80], known)
        given = request.query.getall(name)
        if name != "label" and len(given) > 1:
            raise InvalidInput.field(name, "must be given once")
        if not all(text.isprintable() for text in given):
            raise InvalidInput.field(name, "must not contain control characters")
        if any("\ufffd" in text for text in given) and not _is_utf8(request.rel_url.raw_query_string):
            raise InvalidInput.field(name, "must be UTF-8, each byte beyond ASCII as %XX")
    return request.query


def _unknown_parameter(name: str, known: Sequence[str]) -> InvalidInput:
    takes = f"this path takes {', '.join(known)}" if known else "this path takes none"
    details = {"field": name}
    return InvalidInput(f"{name}: no such query parameter; {takes}", code="unknown_field", details=details)


def _is_utf8(quoted: str) -> bool:
    try:
        unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        return False
    return True
