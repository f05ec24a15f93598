"""HTTP itself: framing, heads, methods, paths and encodings."""

import gzip
import zlib

from podling.master.api.http import MOST_BODY_BYTES
from tests.master.bad_input.rows import Row, head, post, row

TASK = b'{"name":"job","image":"busybox:local"}'
_SIZE = f"{len(TASK):x}".encode()
_CHUNKED = "Transfer-Encoding: chunked"
_WHOLE = _SIZE + b"\r\n" + TASK + b"\r\n0\r\n\r\n"
_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def _submit(*headers: str, body: bytes = b"") -> bytes:
    return head("POST", "/api/v1/tasks", *headers) + body


def _list(*headers: str) -> bytes:
    return head("GET", "/api/v1/tasks", *headers)


FRAMING = {
    "Content-Length and Transfer-Encoding": _submit("Content-Length: 5", _CHUNKED, body=b"0\r\n\r\n"),
    "Transfer-Encoding and Content-Length": _submit(_CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": _submit("Content-Length: 5", "Content-Length: 6", body=b"abcdef"),
    "the same length twice": _submit("Content-Length: 2", "Content-Length: 2", body=b"{}"),
    "a list of lengths": _submit("Content-Length: 2, 2", body=b"{}"),
    **{
        f"Content-Length {length}": _submit(f"Content-Length: {length}", body=TASK)
        for length in ("-1", "+38", "0x26", "38.0", "lots", "", "9" * 40)
    },
    **{
        f"Transfer-Encoding {coding}": _submit(f"Transfer-Encoding: {coding}", body=_WHOLE)
        for coding in (
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "chunked, gzip",
            "identity",
            "xchunked",
            "",
        )
    },
    "two Transfer-Encodings": _submit(_CHUNKED, _CHUNKED, body=_WHOLE),
    "a space before the colon": _submit("Transfer-Encoding : chunked", body=_WHOLE),
    "chunks in HTTP/1.0": b"POST /api/v1/tasks HTTP/1.0\r\n" + _CHUNKED.encode() + b"\r\n\r\n" + _WHOLE,
    "a chunk's size of no digits": _submit(_CHUNKED, body=b"zz\r\n"),
    "a chunk of -1": _submit(_CHUNKED, body=b"-1\r\n\r\n"),
    "a chunk of 0x26": _submit(_CHUNKED, body=b"0x" + _WHOLE),
    "a chunk of 2^80": _submit(_CHUNKED, body=b"f" * 20 + b"\r\nabc"),
    "a chunk longer than it says": _submit(_CHUNKED, body=b"2\r\nabc\r\n0\r\n\r\n"),
    "chunks with bare line feeds": _submit(_CHUNKED, body=_WHOLE.replace(b"\r\n", b"\n")),
    "500 trailers": _submit(_CHUNKED, body=_WHOLE[:-2] + b"A: b\r\n" * 500 + b"\r\n"),
}

HEADS = {
    "a folded header": _list("X-A: a\r\n b"),
    "a header without a colon": _list("Nonsense"),
    "a header without a name": _list(": x"),
    "NUL in a header's name": _list("A\0B: x"),
    "NUL in a header": _list("A: x\0y"),
    "a bare carriage return": _list("A: x\ry"),
    "bare line feeds": _list().replace(b"\r\n", b"\n"),
    "a space in a header's name": _list("Bad Header: x"),
    "129 headers": _list(*[f"X-{n}: a" for n in range(129)]),
    "100,000 headers": _list(*[f"X-{n}: a" for n in range(100_000)]),
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "two Hosts": head("GET", "/health", "Host: b"),
    "two Content-Types": _submit("Content-Type: text/plain", "Content-Type: application/json"),
    "an unknown Expect": _submit("Expect: miracles", "Content-Length: 2", body=b"{}"),
    "no request": b"NONSENSE\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/1": b"GET /health HTTP/1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "another protocol": b"GET /health ICE/1.1\r\nHost: localhost\r\n\r\n",
    "a method of 10,000 letters": head("A" * 10_000, "/health"),
    "no path": head("GET", ""),
    "a path without a slash": head("GET", "health"),
    "a control character in the path": head("GET", "/api/v1/tasks/\x01"),
    "a space in the path": head("GET", "/api/v1/tasks/a b"),
    "bytes beyond ASCII in the path": head("GET", "/api/v1/tasks?name=\xe4"),
    "an address that is none": head("GET", "http://[::bad/health"),
    "an address with port 99999": head("GET", "http://a:99999/health"),
}

UNKNOWN_METHODS = {
    "a method in small letters": head("get", "/health"),
    "an unknown method": head("FOO", "/api/v1/tasks"),
    "an unknown method with a body": head("BREW", "/nothing?x=1", "Content-Length: 2") + b"{}",
}

SAYS = {
    "Content-Length and Transfer-Encoding": "both Content-Length and Transfer-Encoding",
    "Transfer-Encoding and Content-Length": "both Content-Length and Transfer-Encoding",
    "two lengths": "Content-Length was sent twice",
    "Content-Length -1": "decimal digits",
    "Transfer-Encoding gzip": "the only Transfer-Encoding is chunked",
    "two Transfer-Encodings": "the only Transfer-Encoding is chunked",
    "a chunk's size of no digits": "a chunk of the body must begin with its size",
    "a chunk of 2^80": "a chunk of the body says that it is larger",
    "a chunk longer than it says": "longer than its size",
    "chunks with bare line feeds": "a carriage return and a line feed",
    "500 trailers": "more than 128",
    "a folded header": "in a second line",
    "a header without a colon": "no colon",
    "NUL in a header": "holds NUL",
    "bare line feeds": "a carriage return and a line feed",
    "129 headers": "more than 128 headers",
    "no Host": "the header Host is missing",
    "two Hosts": "the header Host was sent twice",
    "two Content-Types": "the header Content-Type was sent twice",
    "no request": "the first line must be",
    "a TLS hello": "speaks http, and https was sent",
    "HTTP/2": "not HTTP/2",
    "no path": "the path must begin with /",
}
"""What has to be told of some of these."""

TOO_LONG = {
    "a header of 100,000 bytes": _list("X-Big: " + "x" * 100_000),
    "a header's name of 9,000 bytes": _list("X" * 9_000 + ": x"),
    "a query of 100,000 bytes": head("GET", "/api/v1/tasks?" + "x" * 100_000),
    "a trailer of 100,000 bytes": _submit(_CHUNKED, body=_WHOLE[:-2] + b"A: " + b"b" * 100_000 + b"\r\n\r\n"),
}

NO_WEBSOCKET = {
    "no upgrade": (),
    "no key": (*_UPGRADE, "Sec-WebSocket-Version: 13"),
    "a broken key": (*_UPGRADE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: !!"),
    "version 99": (*_UPGRADE, "Sec-WebSocket-Version: 99", _KEY),
    "an upgrade to h2c": ("Connection: Upgrade", "Upgrade: h2c", "Sec-WebSocket-Version: 13", _KEY),
}

METHODS = [
    ("DELETE", "/api/v1/tasks"),
    ("PUT", "/api/v1/tasks"),
    ("TRACE", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks:batch"),
    ("GET", "/api/v1/tasks/x/cancel"),
    ("POST", "/api/v1/tasks/x/status"),
    ("POST", "/api/v1/nodes"),
    ("OPTIONS", "/api/v1/nodes"),
    ("PATCH", "/api/v1/nodes"),
    ("POST", "/health"),
]

NO_PATHS = [
    *("/", "/api", "/api/v1", "/api/v2/tasks", "/favicon.ico", "//api/v1/tasks", "/api\\v1\\tasks"),
    *("/api/v1/task", "/api/v1/tasks/", "/api/v1/tasks/x/", "/api/v1/tasks/x/y", "/api/v1//tasks"),
    *("/api/v1/%74asks/x/y", "//other.test/health"),
]

NO_IDS = [
    *(
        "%00",
        "a%00b",
        "%ff%fe",
        "%zz",
        "%e0%80%af",
        "%",
        "%2e%2e",
        "a%2fb",
        "..%2f..%2fnodes",
        "-x",
        "x;y",
        "x" * 129,
        "x" * 7000,
    ),
    *("'%20OR%201=1", "%3Cscript%3E", "a%0d%0ab", "%E2%80%AEa"),
]


def _packed(coding: str, body: bytes) -> bytes:
    return post("/tasks", body, f"Content-Encoding: {coding}")


REFUSED_HTTP: list[Row] = [
    *[
        row(name, request, 400, "bad_request", says=SAYS.get(name, ""))
        for name, request in (FRAMING | HEADS).items()
    ],
    *[row(name, request, 400, "header_too_large") for name, request in TOO_LONG.items()],
    *[row(name, request, 405, "method_not_allowed") for name, request in UNKNOWN_METHODS.items()],
]

ROWS: list[Row] = [
    *REFUSED_HTTP,
    *[
        row(f"a WebSocket with {name}", head("GET", f"/api/v1/{path}", *headers), status, code)
        for name, headers in NO_WEBSOCKET.items()
        for path, status, code in (
            ("nodes/node-1/session", 400, "not_a_websocket"),
            ("streams/x", 404, "stream_not_found"),
        )
    ],
    *[row(f"{method} {path}", head(method, path), 405, "method_not_allowed") for method, path in METHODS],
    *[row(f"no path {path}", head("GET", path), 404, "no_such_path") for path in NO_PATHS],
    *[
        row(f"no task {id_[:20]}", head("GET", f"/api/v1/tasks/{id_}"), 404, "task_not_found")
        for id_ in NO_IDS
    ],
    *[
        row(f"no node {id_[:20]}", head("GET", f"/api/v1/nodes/{id_}"), 404, "node_not_found")
        for id_ in NO_IDS
    ],
    *[
        row(f"packed with {coding}", _packed(coding, TASK), 415, "unsupported_media_type")
        for coding in ("br", "zstd", "foo", "gzip, gzip", "x" * 100)
    ],
    *[
        row(f"not packed with {c}", _packed(c, b"neither " * 9), 400, "bad_request")
        for c in ("gzip", "deflate")
    ],
    row(
        "two encodings",
        post("/tasks", TASK, "Content-Encoding: gzip", "Content-Encoding: gzip"),
        400,
        "invalid_field",
    ),
    *[
        row(
            f"Content-Type {kind}",
            post("/tasks", TASK, f"Content-Type: {kind}"),
            415,
            "unsupported_media_type",
        )
        for kind in (
            "text/plain",
            "text/xml",
            "multipart/form-data; boundary=x",
            "application/json-patch+json",
            "application/json; charset=latin-1",
            "application/json; charset=utf-16",
        )
    ],
    row("gzip torn", _packed("gzip", gzip.compress(TASK)[:-12]), 400, "bad_request", "invalid_json"),
    row(
        "a gzip bomb",
        _packed("gzip", gzip.compress(b" " * 20 * MOST_BODY_BYTES, 9)),
        413,
        "payload_too_large",
    ),
    row(
        "a deflate bomb",
        _packed("deflate", zlib.compress(b"[" * 20 * MOST_BODY_BYTES, 9)),
        413,
        "payload_too_large",
    ),
    row("a byte too many", post("/tasks", b'"' + b"x" * MOST_BODY_BYTES), 413, "payload_too_large"),
    row("a length of 10 GB", _submit("Content-Length: 10000000000"), 413, "payload_too_large"),
    row(
        "a chunk without end",
        _submit(_CHUNKED, body=b"ffffff\r\n" + b" " * 5_000_000),
        413,
        "payload_too_large",
    ),
]
