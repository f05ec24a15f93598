"""What both clients do, written once: generators that ask for effects and are told the outcomes.

A program yields `Send` or `Sleep`; the client performs it and sends back a `Response`, a
`ConnectionLost` or None. So retries, waiting and look-ups need no second, asynchronous copy.
"""

import os
import random
import re
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from podling.client import tasks
from podling.client.call import Call, JsonObject, Page, Request, Response, error_of
from podling.core.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    PodlingError,
    Unavailable,
)
from podling.core.value import value
from podling.kit import tls

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8070"
MASTER_AWAY_SECONDS = 60.0
"""How long a wait goes on while no master answers."""

NEXT_MASTER_SECONDS = 5.0
"""After so long without an answer another master is asked, if there is one."""

_CLUSTER = re.compile(r"(/(?!api(?:/|$))[a-z0-9-]+)?/?(?:api/v1/?)?", re.ASCII)
"""The path of an address: nothing, or the name of one cluster of a master that has several."""

_BUSY = frozenset({429, 503})
ENDED = frozenset({"completed", "failed", "cancelled"})
"""As `podling.core.task.TERMINAL`, which takes a tenth of a command's time to import."""
_PAGE = 500
_MAX_PAGES = 20


@value
class Send:
    request: Request
    address: str


@value
class Sleep:
    seconds: float


@value
class ConnectionLost:
    """No whole answer came. `sent` says whether the master may have seen the request.

    `is_advice`: the reason says what to do as well.
    """

    address: str
    reason: str
    sent: bool
    is_advice: bool = False


Effect = Send | Sleep
Outcome = Response | ConnectionLost | None
Program = Generator[Effect, Outcome, T]


@value
class Link:
    """Where the masters are, and the clock (seconds, monotonic) that deadlines are counted on.

    `tls` says whom a connection by https trusts; None: whom this machine trusts.
    """

    addresses: tuple[str, ...]
    token: str | None = None
    tls: ssl.SSLContext | None = None
    timeout_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random


def new_key() -> str:
    """Return an idempotency key that nobody else has."""
    return os.urandom(16).hex()


def key_of(spec: Mapping[str, Any], key: str | None) -> str:
    """Return the key to submit with: the one given, else the specification's own, else a new one."""
    own = spec.get("idempotencyKey")
    return key or (own if isinstance(own, str) and own else new_key())


def addresses_of(url: str) -> tuple[str, ...]:
    """Split a comma separated list of masters. Raises InvalidInput for what is no address."""
    return tuple(_address(part.strip()) for part in url.split(",") if part.strip()) or (DEFAULT_URL,)


def _address(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    cluster = _CLUSTER.fullmatch(parts.path)
    if not usable or cluster is None:
        raise InvalidInput(f"{url!r} is not the address of a master; write http://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}{cluster[1] or ''}"


def patience_at(link: Link, send: Send) -> float:
    """Return for how many seconds this master is waited for: a hung one shall not hold up the next."""
    is_last = send.address == link.addresses[-1]
    if is_last or not send.request.repeatable:
        return link.timeout_seconds + send.request.answer_seconds
    return min(link.timeout_seconds, NEXT_MASTER_SECONDS) + send.request.answer_seconds


def preferring(link: Link, address: str) -> Link:
    """Return the link with the master that has just answered first."""
    if address == link.addresses[0]:
        return link
    return replace(link, addresses=(address, *(other for other in link.addresses if other != address)))


def turned(link: Link) -> Link:
    """Return the link with its first master asked last: it has just gone."""
    return replace(link, addresses=(*link.addresses[1:], link.addresses[0]))


def all_pages(link: Link, page: Callable[..., Call[Page]]) -> Program[list[JsonObject]]:
    """Return all items of a list; `page` makes the call for the page at a `cursor`."""
    items: list[JsonObject] = []
    cursor: str | None = None
    while True:
        found = yield from exchange(link, page(cursor=cursor))
        items += found.items
        cursor = found.next_cursor
        if cursor is None:
            return items


def exchange(link: Link, call: Call[T]) -> Program[T]:
    """Send the call and return its answer; repeat it while its patience lasts.

    Raises the typed error of a refusal, and Unavailable if no master answers.
    """
    request = call.request
    give_up = link.clock() + request.patience_seconds
    for wait in _backoff(link):
        outcome = yield from _first_answer(link, request)
        if isinstance(outcome, Response) and outcome.status not in _BUSY:
            return call.read(outcome)
        pause = max(wait, _retry_after(outcome))
        if not request.repeatable or link.clock() + pause > give_up:
            raise error_of(outcome) if isinstance(outcome, Response) else unreachable(link, outcome)
        yield Sleep(seconds=pause)
    raise AssertionError("the backoff has no end")


def _first_answer(link: Link, request: Request) -> Program[Response | ConnectionLost]:
    lost: ConnectionLost | None = None
    for address in link.addresses:
        outcome = yield Send(request=request, address=address)
        if isinstance(outcome, Response):
            return outcome
        assert outcome is not None
        lost = outcome
        if lost.sent and not request.repeatable:
            break
    assert lost is not None, "a link has at least one address"
    return lost


def _backoff(link: Link) -> Iterator[float]:
    base = 0.1
    while True:
        yield base * (0.75 + link.draw() / 2)
        base = min(base * 2, 2.0)


def _retry_after(outcome: Response | ConnectionLost) -> float:
    header = outcome.headers.get("retry-after", "") if isinstance(outcome, Response) else ""
    return float(header) if header.isascii() and header.isdecimal() and len(header) < 6 else 0.0


def unreachable(link: Link, lost: ConnectionLost) -> Unavailable:
    """Return the sentence for a master that does not answer."""
    where = " or ".join(link.addresses)
    if lost.is_advice:
        sentence = f"no connection to a master at {where}: {lost.reason}"
    else:
        sentence = (
            f"no master answers at {where} ({lost.reason}); start one, or give the `url` of one that runs"
        )
    return Unavailable(
        sentence,
        code="master_unreachable",
        details={"addresses": list(link.addresses), "reason": lost.reason},
    )


def wait_for_end(link: Link, task_id: str, timeout_seconds: float | None) -> Program[JsonObject]:
    """Return the task once it has ended. None waits as long as it takes.

    Raises DeadlineExceeded (code `wait_timed_out`) after the timeout.
    """
    deadline = float("inf") if timeout_seconds is None else link.clock() + timeout_seconds
    for pause in growing_pauses():
        left = deadline - link.clock()
        task = yield from exchange(link, tasks.read(task_id).patient(min(MASTER_AWAY_SECONDS, max(left, 0))))
        if has_ended(task):
            return task
        left = deadline - link.clock()
        if left <= 0:
            raise _timed_out(task)
        yield Sleep(seconds=min(pause, left))
    raise AssertionError("the pauses have no end")


def has_ended(task: JsonObject) -> bool:
    return task.get("status") in ENDED


def pause(seconds: float) -> Program[None]:
    """Wait."""
    yield Sleep(seconds=seconds)


def growing_pauses() -> Iterator[float]:
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 1.4, 1.0)


def _timed_out(task: JsonObject) -> DeadlineExceeded:
    message = f"task {task.get('name')} has not ended in time; it is {task.get('status')}"
    return DeadlineExceeded(message, code="wait_timed_out", details={"taskId": task.get("taskId")})


_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def find_task(link: Link, reference: str, patience_seconds: float = 0.0) -> Program[JsonObject]:
    """Return the task of this id, or the newest of this exact name, or the one whose id begins so.

    Each request is repeated for up to `patience_seconds` while no master answers. Raises NotFound,
    and InvalidInput (code `ambiguous_reference`) if several ids begin so.
    """
    if _ID.fullmatch(reference):
        try:
            return (yield from exchange(link, tasks.read(reference).patient(patience_seconds)))
        except (NotFound, InvalidInput):
            pass  # not a whole id
    named = yield from exchange(link, tasks.listing(name=reference, limit=1).patient(patience_seconds))
    if named.items:
        return named.items[0]
    return (yield from _find_by_prefix(link, reference, patience_seconds))


def _find_by_prefix(link: Link, prefix: str, patience_seconds: float) -> Program[JsonObject]:
    found: list[JsonObject] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES if prefix else 0):
        page = yield from exchange(link, tasks.listing(limit=_PAGE, cursor=cursor).patient(patience_seconds))
        found += [task for task in page.items if str(task["taskId"]).startswith(prefix)]
        cursor = page.next_cursor
        if cursor is None or len(found) > 1:
            break
    return _only(found, prefix, complete=cursor is None)


def _only(found: list[JsonObject], prefix: str, complete: bool) -> JsonObject:
    if len(found) == 1:
        return found[0]
    if not found:
        where = "" if complete else f" among the newest {_PAGE * _MAX_PAGES}; give its whole id"
        raise NotFound(
            f"no task has the name {prefix!r} or an id that begins so{where}", code="task_not_found"
        )
    raise InvalidInput(
        f"several tasks have an id that begins with {prefix!r}; give more of it",
        code="ambiguous_reference",
        details={"taskIds": [task["taskId"] for task in found[:20]]},
    )


def lost_connection(
    address: str, error: BaseException, *, sent: bool, unanswered: bool = False
) -> ConnectionLost:
    """Return what became of a connection; `unanswered`: it was closed without a byte of an answer."""
    reason = tls.hung_up(address) if unanswered else tls.reason_of(error)
    if reason is not None:
        return ConnectionLost(address=address, reason=reason, sent=sent, is_advice=True)
    return ConnectionLost(address=address, reason=reason_of(error), sent=sent)


def reason_of(error: BaseException) -> str:
    """Return a short reason for a failed connection."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def stream_lost(reason: str) -> PodlingError:
    """Return the error of a stream that broke off before its end."""
    return Unavailable(f"the connection to the master was lost ({reason})", code="stream_lost")
