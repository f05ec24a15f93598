"""Several applications at one address, each behind its name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from yarl import URL

_PREFIX: web.RequestKey[str] = web.RequestKey("prefix", str)
_AT_WORK: ContextVar[str] = ContextVar("application at work", default="")
_SERVER: web.RequestKey[web.Server] = web.RequestKey("server", web.Server)


class Front:
    """Gives a request for `/NAME/…` to the application of that name, which sees it without the name.

    The first one also gets whatever names none of them.
    """

    def __init__(self, runners: Mapping[str, web.AppRunner]) -> None:
        self._servers = {name: _server_of(runner) for name, runner in runners.items()}
        self._first_name, self._first = next(iter(self._servers.items()))

    def server(self) -> web.Server:
        """Return what makes and answers the requests of all of them."""
        return web.Server(self._answer, request_factory=self._request, handler_cancellation=True)

    def _request(self, message: RawRequestMessage, *connection: Any) -> web.BaseRequest:
        name = message.url.raw_path.partition("/")[2].partition("/")[0]
        if (server := self._servers.get(name)) is None:
            return _made(self._first, "", message, *connection)
        return _made(server, f"/{name}", _within(message, f"/{name}"), *connection)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        with at_work(prefix_of(request).removeprefix("/") or self._first_name):
            return await request[_SERVER].request_handler(request)


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Have it known whose work is done meanwhile, also by what is begun here."""
    token = _AT_WORK.set(name)
    try:
        yield
    finally:
        _AT_WORK.reset(token)


def who_is_at_work() -> str:
    """Return the name of the application whose work this is; an empty text where there is but one."""
    return _AT_WORK.get()


def prefix_of(request: web.BaseRequest) -> str:
    """Return `/NAME` if the request came for that one of several, and an empty text otherwise."""
    return str(request.get(_PREFIX, ""))


def _server_of(runner: web.AppRunner) -> web.Server:
    assert runner.server is not None, "the runner is set up before"
    return runner.server


def _made(server: web.Server, prefix: str, message: RawRequestMessage, *connection: Any) -> web.BaseRequest:
    request: web.BaseRequest = server.request_factory(message, *connection)
    request[_SERVER], request[_PREFIX] = server, prefix
    return request


def _within(message: RawRequestMessage, prefix: str) -> RawRequestMessage:
    rest = message.url.raw_path.removeprefix(prefix) or "/"
    url = URL.build(path=rest, query_string=message.url.raw_query_string, encoded=True)
    return message._replace(path=str(url), url=url)
