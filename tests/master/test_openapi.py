"""The document of the API, and the page that shows it."""

import base64
import hashlib
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
        openapi.Contract([get("/api/v1/new", handler, Role.READER)], "1.0")


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
    assert f"curl -X POST {shared_master.url}/api/v1/tasks -d" in answer.text
    assert "PODLING_TOKEN" not in answer.text


async def test_the_commands_name_the_address_that_was_asked(shared_master: RunningMaster) -> None:
    for host, shown in (
        ("podling.test:8443", "http://podling.test:8443/health"),
        ("[::1]:8070", "http://[::1]:8070/health"),
        ('"><script>', f"{shared_master.server.context.options.advertise_url}/health"),
    ):
        answer = await shared_master.api.call("GET", "//docs", headers={"Host": host})
        assert f"<pre>curl {shown}</pre>" in answer.text, host
        assert "<script" not in answer.text and "address.invalid" not in answer.text


async def test_a_browser_may_do_nothing_with_the_page_but_show_it(shared_master: RunningMaster) -> None:
    answer = await shared_master.api.get("//docs")
    parts = answer.headers["Content-Security-Policy"].split("; ")
    denied = ("default-src", "base-uri", "form-action", "frame-ancestors")
    assert {f"{name} 'none'" for name in denied} < set(parts)
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in parts
    assert " style=" not in answer.text and " on" not in re.sub(">[^<]*<", "><", answer.text)
