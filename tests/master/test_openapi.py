"""The document of the API, and the page that shows it."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp import web

from podling.core.access import Role
from podling.master.api import openapi
from podling.master.api.route import get
from podling.wire.openapi.document import described
from tests.master.masters import RunningMaster

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_route_is_described_and_nothing_else(shared_master: RunningMaster) -> None:
    document = (await shared_master.api.get("//openapi.json")).json
    documented = {f"{method.upper()} {path}" for path, made in document["paths"].items() for method in made}
    assert documented == set(described())
    assert document["openapi"].startswith("3.1")
    assert _operation(document, "post", "/api/v1/tasks")["x-podling-role"] == "submitter"
    assert _operation(document, "get", "/health")["security"] == []
    names = [made["operationId"] for operations in document["paths"].values() for made in operations.values()]
    assert len(set(names)) == len(names)


async def test_whatever_it_refers_to_is_there_and_is_used(shared_master: RunningMaster) -> None:
    document = (await shared_master.api.get("//openapi.json")).json
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert used == set(document["components"]["schemas"])


def _operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    return dict(document["paths"][path][method])


async def test_a_route_that_nobody_described_is_no_master() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response()

    with pytest.raises(KeyError, match="GET /api/v1/new"):
        openapi.document_of([get("/api/v1/new", handler, Role.READER)], "1.0")


class _Page(HTMLParser):
    """Gathers the anchors, the links to them, and what a browser would have to fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: text or "" for name, text in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and given["href"].startswith("#"):
            self.links.add(given["href"].removeprefix("#"))
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)


async def test_the_page_shows_every_operation_and_needs_nothing_else(shared_master: RunningMaster) -> None:
    document = (await shared_master.api.get("//openapi.json")).json
    answer = await shared_master.api.get("//docs")
    assert answer.headers["Content-Type"].startswith("text/html")
    page = _Page()
    page.feed(answer.text)
    names = {made["operationId"] for operations in document["paths"].values() for made in operations.values()}
    assert names <= page.ids
    assert page.links <= page.ids
    assert page.fetched == []
    assert "curl -X POST http://127.0.0.1:8070/api/v1/tasks -d" in answer.text
