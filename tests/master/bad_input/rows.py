"""One bad input: its bytes as they go over the wire, and how it has to be refused."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podling.core.errors import InvalidInput
from podling.kit.connection import STAMP
from tests.master.masters import Answer

WITHIN_SECONDS = 10.0

FIELD_CODES = frozenset({"invalid_field", "unknown_field", "unsupported_field", "policy_denied"})


@dataclass(frozen=True)
class Row:
    """`codes` are those that will do; `field` has to be named, and `says` be in the sentence, if given."""

    name: str
    request: bytes
    status: int
    codes: frozenset[str]
    field: str | None = None
    says: str = ""


def row(name: str, request: bytes, status: int, *codes: str, field: str | None = None, says: str = "") -> Row:
    return Row(name, request, status, frozenset(codes), field, says)


def head(method: str, path: str, *headers: str) -> bytes:
    """Return a request's head as it is, however wrong; paths are in Latin-1."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def with_body(method: str, path: str, body: bytes, *headers: str) -> bytes:
    return head(method, path, f"Content-Length: {len(body)}", *headers) + body


def post(path: str, body: bytes, *headers: str) -> bytes:
    return with_body("POST", f"/api/v1{path}", body, *headers)


def posted(kind: str, path: str, body: Mapping[str, Any], status: int, field: str) -> Row:
    """A body with one bad field, which has to be named."""
    sent = json.dumps(body).encode()
    name = f"{kind} {ascii(sorted(body.items(), key=str))[-50:]}"
    return Row(name, post(path, sent), status, FIELD_CODES, field)


async def send(port: int, request: bytes) -> Answer:
    """Send bytes and read the one answer, as far as its head says. Raises TimeoutError, and is no client."""
    async with asyncio.timeout(WITHIN_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            in_1_1 = request.partition(b"\r\n")[0].endswith(b" HTTP/1.1")
            assert lines[0].startswith("HTTP/1.1 ") or not in_1_1, lines[0]
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            text = (await reader.readexactly(int(headers.get("Content-Length", "0")))).decode()
            return Answer(int(lines[0].split(" ")[1]), headers, text)
        finally:
            writer.close()


def check(given: Answer, expected: Row) -> None:
    """Fail unless it is a refusal of the one shape, typed as it should be."""
    assert given.status == expected.status, given.text[:500]
    told = given.json
    assert set(told) == {"error", "code", "details"}, told
    assert told["code"] in expected.codes, told
    assert expected.field is None or told["details"]["field"] == expected.field, told
    assert 0 < len(told["error"]) < 600 and told["error"].isprintable(), told
    assert expected.says in told["error"], told
    assert "not valid HTTP" not in told["error"], "what is wrong with it can be told"
    assert "Traceback" not in given.text
    assert STAMP.items() <= given.headers.items()
    if given.status == 405:
        assert given.headers["Allow"]
    assert InvalidInput.default_code not in expected.codes, "a code that tells no case from another"
