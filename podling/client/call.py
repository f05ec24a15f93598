"""What a call is: a request, the statuses that mean success, and how the answer is read."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from podling import __version__
from podling.core.errors import PodlingError
from podling.core.value import value
from podling.wire.errors import error_from

T = TypeVar("T")
JsonObject = Mapping[str, Any]


@value
class Request:
    """One HTTP request below `/api/v1`. `path` is quoted already, `body` plain data for JSON.

    `repeatable` says that sending it twice has the effect of once; `patience_seconds` for how long
    it may be repeated while the master is away or overloaded, `answer_seconds` how much longer than
    others it may take to answer.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    repeatable: bool = False
    patience_seconds: float = 0.0
    answer_seconds: float = 0.0


@value
class Response:
    """`headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@value
class Call(Generic[T]):
    """A request and how its answer is read; both clients take it."""

    request: Request
    parse: Callable[[Response], T]
    expected: frozenset[int] = frozenset({200})

    def read(self, response: Response) -> T:
        """Return the answer. Raises the typed error of a refusal."""
        if response.status not in self.expected:
            raise error_of(response)
        return self.parse(response)

    def patient(self, seconds: float) -> "Call[T]":
        """Return the same call, repeated for up to `seconds` if it is repeatable."""
        return replace(self, request=replace(self.request, patience_seconds=seconds))


@value
class Page:
    """Part of a list; `next_cursor` is None on the last one."""

    items: list[JsonObject]
    next_cursor: str | None = None


def path_of(*segments: str) -> str:
    """Return the path of the segments, each quoted so that it cannot become another path."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def query_of(**values: Any) -> tuple[tuple[str, str], ...]:
    """Return query pairs: None is left out, a list repeats its name, `True` is `true`."""
    return tuple((name, text) for name, given in values.items() for text in _texts(given))


def _texts(given: Any) -> Iterable[str]:
    if given is None or given is False:
        return ()
    if given is True:
        return ("true",)
    if isinstance(given, list | tuple):
        return [str(item) for item in given]
    return (str(given),)


def get(path: str, parse: Callable[[Response], T], **query: Any) -> Call[T]:
    """Return a call that reads."""
    request = Request(method="GET", path=path, query=query_of(**query), repeatable=True)
    return Call(request=request, parse=parse)


def post(path: str, parse: Callable[[Response], T], body: Any = None) -> Call[T]:
    """Return a call that changes something."""
    request = Request(method="POST", path=path, body=body)
    return Call(request=request, parse=parse, expected=frozenset({200, 201, 202}))


def json_object(response: Response) -> JsonObject:
    parsed = _json(response)
    if not isinstance(parsed, dict):
        raise _not_podling(response)
    return parsed


def json_array(response: Response) -> list[JsonObject]:
    parsed = _json(response)
    if not isinstance(parsed, list):
        raise _not_podling(response)
    return parsed


def json_page(response: Response) -> Page:
    return Page(items=json_array(response), next_cursor=response.headers.get("x-next-cursor") or None)


def text(response: Response) -> str:
    return response.body.decode(errors="replace")


def _json(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except ValueError:
        raise _not_podling(response) from None


def _not_podling(response: Response) -> PodlingError:
    return PodlingError(
        "the answer is not a Podling master's; check the address of the master",
        code="unexpected_answer",
        details={"status": response.status, "start": response.body[:200].decode(errors="replace")},
    )


def error_of(response: Response) -> PodlingError:
    """Return the typed error of a refusal."""
    try:
        parsed = json.loads(response.body)
    except ValueError:
        parsed = None
    return error_from(response.status, parsed if isinstance(parsed, dict) else {})


def target_of(request: Request) -> str:
    """Return path and query as they stand in the request's first line."""
    query = f"?{urlencode(request.query)}" if request.query else ""
    return f"/api/v1{request.path}{query}"


def headers_of(request: Request, token: str | None) -> dict[str, str]:
    given = {"User-Agent": f"podling/{__version__}", **request.headers}
    if request.body is not None:
        given["Content-Type"] = "application/json"
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return given


def encoded(request: Request) -> bytes | None:
    return None if request.body is None else json.dumps(request.body).encode()
