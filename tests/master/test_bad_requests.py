"""JSON, queries, paths and bytes that no master may stumble over: a typed 4xx, never a 5xx."""

import asyncio
import gzip
import json
import random
from typing import Any

import pytest

from podling.master.api.http import MOST_BODY_BYTES
from tests.master.masters import Answer, RunningMaster, task_body

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _body(fields: str) -> bytes:
    return b'{"name":"job","image":"busybox:local",' + fields.encode() + b"}"


def _deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


BAD_JSON = [
    ("no body", b""),
    ("blank", b"  "),
    ("cut off", b'{"name":'),
    ("garbage", b"\x00\xff\xfe"),
    ("null", b"null"),
    ("array", b"[]"),
    ("string", b'"job"'),
    ("number", b"5"),
    ("two objects", b"{}{}"),
    ("trailing comma", b'{"name":"job",}'),
    ("single quotes", b"{'name':'job'}"),
    ("comment", b'{"name":"job" /* x */}'),
    ("BOM", b"\xef\xbb\xbf" + _body('"priority":1')),
    ("UTF-16", _body('"priority":1').decode().encode("utf-16")),
    ("Latin-1", _body('"user":"\u00e4"').decode().encode("latin-1")),
    ("NaN", _body('"timeoutSeconds":NaN')),
    ("Infinity", _body('"timeoutSeconds":Infinity')),
    ("1e999", _body('"timeoutSeconds":1e999')),
    ("5,000 digits", _body('"priority":' + "9" * 5000)),
    ("leading zero", _body('"priority":01')),
    ("hexadecimal", _body('"priority":0x10')),
    ("lone surrogate", _body('"user":"\\ud800"')),
    ("half of a pair", _body('"user":"\\udc00\\ud800"')),
    ("raw control character", b'{"name":"a\nb"}'),
    ("doubled name", _body('"name":"other"')),
    ("doubled name inside", _body('"env":{"A":"1","A":"2"}')),
    ("doubled by an escape", _body('"env":{"A":"1","\\u0041":"2"}')),
    ("doubled output field", _body('"status":"a","status":"b"')),
    ("100 levels", _body('"labels":' + _deep(100))),
    ("300 levels", _body('"labels":' + _deep(300))),
    ("1,000 levels", _body('"labels":' + _deep(1000))),
    ("100,000 levels", _body('"labels":' + _deep(100_000))),
    ("100,000 open brackets", b"[" * 100_000),
    ("urlencoded", b"name=job&image=busybox%3Alocal"),
]

PATHS = ["/tasks", "/tasks:batch", "/nodes/register", "/nodes/node-1/tails"]


def _check(answer: Answer, *statuses: int) -> None:
    assert answer.status in statuses, (answer.status, answer.text[:300])
    told = answer.json
    assert set(told) == {"error", "code", "details"}
    assert "Traceback" not in answer.text and len(told["error"]) < 600


async def _post(master: RunningMaster, path: str, raw: bytes, **headers: str) -> Answer:
    async with asyncio.timeout(5):
        return await master.api.call("POST", path, raw=raw, headers=headers)


@pytest.mark.parametrize("raw", [raw for _, raw in BAD_JSON], ids=[name for name, _ in BAD_JSON])
async def test_bad_json_is_refused_everywhere(shared_master: RunningMaster, raw: bytes) -> None:
    for path in PATHS:
        answer = await _post(shared_master, path, raw)
        _check(answer, 400)
        assert answer.code in ("invalid_json", "invalid_field", "unknown_field"), (path, answer.text)
    assert (await _post(shared_master, "/tasks", raw)).code == "invalid_json"


@pytest.mark.parametrize(
    ("name", "value"),
    [("Content-Type", "text/plain"), ("Content-Type", "text/xml"), ("Content-Encoding", "foo")],
)
async def test_what_says_that_it_is_not_json_is_refused(
    shared_master: RunningMaster, name: str, value: str
) -> None:
    answer = await _post(shared_master, "/tasks", b'{"name": "a", "image": "b"}', **{name: value})
    _check(answer, 415)
    assert answer.code == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/x-www-form-urlencoded"]
)
async def test_what_counts_is_the_body_not_its_label(shared_master: RunningMaster, content_type: str) -> None:
    """`curl -d` labels everything as a form."""
    raw = json.dumps(task_body()).encode()
    answer = await _post(shared_master, "/tasks", raw, **{"Content-Type": content_type})
    assert answer.status == 201
    await shared_master.api.post(f"/tasks/{answer.json['taskId']}/cancel")


@pytest.mark.parametrize(
    "fields, field",
    [
        ('"user":"a\\u0000"', "user"),
        ('"env":{"A":"\\u0000"}', "env.A"),
        ('"env":{"\\u0000A":"x"}', "env.\\u0000A"),
        ('"args":["ok","a\\u0000b"]', "args.1"),
        ('"error":"\\u0000"', "error"),
        ('"surprise":"\\u0000"', "surprise"),
    ],
)
async def test_nul_is_refused_by_field(shared_master: RunningMaster, fields: str, field: str) -> None:
    answer = await _post(shared_master, "/tasks", _body(fields))
    _check(answer, 400)
    assert (answer.code, answer.field) == ("invalid_field", field)


async def test_a_backslash_before_u0000_is_only_text(shared_master: RunningMaster) -> None:
    task = await shared_master.api.submit(args=["\\u0000", "\\\\u0000"])
    assert (await shared_master.api.task(task["taskId"]))["args"] == ["\\u0000", "\\\\u0000"]


async def test_64_levels_are_read(shared_master: RunningMaster) -> None:
    answer = await _post(shared_master, "/tasks", _body('"surprise":' + _deep(62)))
    assert answer.code == "unknown_field"


async def test_a_body_may_have_exactly_the_limit(shared_master: RunningMaster) -> None:
    start, end = b'{"name":"job","image":"', b'"}'
    fits = start + b"x" * (MOST_BODY_BYTES - len(start) - len(end)) + end
    answer = await _post(shared_master, "/tasks", fits)
    assert (answer.status, answer.field) == (400, "image")
    over = await _post(shared_master, "/tasks", start + b"x" + fits[len(start) :])
    assert (over.status, over.code) == (413, "payload_too_large")
    assert str(MOST_BODY_BYTES) in over.json["error"]


async def test_very_many_names_are_read_in_time(shared_master: RunningMaster) -> None:
    names = ",".join(f'"{n}":1' for n in range(50_000))
    answer = await _post(shared_master, "/tasks", b"{" + names.encode() + b"}")
    _check(answer, 400)
    twice = await _post(shared_master, "/tasks", b"{" + names.encode() + b',"49999":1}')
    assert (twice.code, twice.field) == ("invalid_json", "49999")


async def test_compressed_bodies(shared_master: RunningMaster) -> None:
    body = json.dumps(task_body()).encode()
    good = await _post(shared_master, "/tasks", gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert good.status == 201
    bomb = gzip.compress(b" " * 20 * MOST_BODY_BYTES, 9)
    answer = await _post(shared_master, "/tasks", bomb, **{"Content-Encoding": "gzip"})
    assert answer.status == 413
    torn = await _post(shared_master, "/tasks", b"no gzip", **{"Content-Encoding": "gzip"})
    assert 400 <= torn.status < 500
    unknown = await _post(shared_master, "/tasks", body[1:], **{"Content-Encoding": "rot13"})
    assert 400 <= unknown.status < 500


async def test_bad_idempotency_headers(shared_master: RunningMaster) -> None:
    for header in ("", " ", "x" * 300, "a\u00e4" * 200):
        answer = await _post(
            shared_master, "/tasks", json.dumps(task_body()).encode(), **{"Idempotency-Key": header}
        )
        _check(answer, 400)
        assert answer.field == "idempotencyKey"


QUERIES = [
    *[
        ("limit", bad)
        for bad in ("0", "-1", "501", "1e9", "1000000000", "9" * 40, "", "ten", "1.5", "０", "+1", " 1")
    ],
    *[
        ("cursor", bad)
        for bad in (
            "",
            "x",
            "====",
            "ä",
            "AAAA",
            "MjAyNi0wMS0wMQ",
            "a" * 5000,
            "MDAwMS0wMS0wMVQwMDowMDowMFogeA",
        )
    ],
    *[("status", bad) for bad in ("", "Pending", "pending,", "scheduled;drop", "null", "0")],
    *[("queue", bad) for bad in ("a\0b", "a\nb", "a\u202eb")],
    *[("node", bad) for bad in ("a\0b",)],
    *[("name", bad) for bad in ("a\0b", "\x1b[31m")],
    *[("label", bad) for bad in ("a\0=b",)],
    ("surprise", "1"),
    ("Limit", "1"),
    ("limit;drop", "1"),
]


@pytest.mark.parametrize("name, bad", QUERIES, ids=ascii)
async def test_a_bad_query_is_refused_by_name(shared_master: RunningMaster, name: str, bad: str) -> None:
    answer = await shared_master.api.get("/tasks", **{name: bad})
    _check(answer, 400)
    assert answer.field == name


async def test_a_parameter_given_twice_is_refused(shared_master: RunningMaster) -> None:
    answer = await shared_master.api.call("GET", "/tasks?limit=1&limit=2")
    assert (answer.status, answer.field) == (400, "limit")


async def test_harmless_strangeness_in_filters_finds_nothing(shared_master: RunningMaster) -> None:
    for query in (
        {"name": "' OR 1=1 --"},
        {"name": "%"},
        {"name": "_ob"},
        {"queue": "<script>"},
        {"node": "../../etc/passwd"},
        {"label": "a=b=c"},
        {"name": "日本"},
        {"name": "x" * 5000},
    ):
        answer = await shared_master.api.get("/tasks", **query)
        assert (answer.status, answer.json) == (200, []), query


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("PUT", "/tasks", "GET, HEAD, POST"),
        ("GET", "/tasks:batch", "POST"),
        ("GET", "/tasks/x/cancel", "POST"),
        ("POST", "/tasks/x/status", "PUT"),
        ("POST", "/nodes", "GET, HEAD"),
        ("OPTIONS", "/nodes", "GET, HEAD"),
        ("PATCH", "/nodes", "GET, HEAD"),
        ("POST", "//health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    shared_master: RunningMaster, method: str, path: str, allowed: str
) -> None:
    answer = await shared_master.api.call(method, path)
    _check(answer, 405)
    assert (answer.code, answer.headers["Allow"]) == ("method_not_allowed", allowed)


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "//api",
        "//api/v1",
        "//api/v2/tasks",
        "/task",
        "/tasks/",
        "/tasks/x/",
        "/tasks/x/y",
        "//favicon.ico",
    ],
)
async def test_an_unknown_path_is_not_found(shared_master: RunningMaster, path: str) -> None:
    answer = await shared_master.api.get(path)
    _check(answer, 404)
    assert answer.code == "no_such_path"


async def _raw(master: RunningMaster, request: bytes) -> str:
    """Send bytes as they are and return the head of the answer."""
    port = int(master.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return (await reader.read(4096)).decode(errors="replace")
    finally:
        writer.close()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/tasks/%2e%2e/%2e%2e/nodes",
        "/api/v1/tasks/..%2f..%2fnodes",
        "/api/v1/tasks/a%2fb",
        "/api/v1/tasks/%00",
        "/api/v1/tasks/a%00b/attempts",
        "/api/v1/tasks/%ff%fe",
        "/api/v1/tasks/%zz",
        "/api/v1/tasks/%e0%80%af",
        "/api/v1/tasks/%",
        "/api/v1/tasks/" + "x" * 129,
        "/api/v1/tasks/" + "x" * 8000,
        "/api/v1/tasks/-x",
        "/api/v1/tasks/x;y",
        "/api/v1/nodes/..",
        "/api/v1//tasks",
        "//api/v1/tasks",
        "/api/v1/./tasks/../tasks/x",
        "/api/v1/tasks/\u00e4".encode().decode("latin-1"),
        "/api/v1/streams/%00",
    ],
    ids=ascii,
)
async def test_path_tricks_lead_nowhere(shared_master: RunningMaster, path: str) -> None:
    answer = await _raw(shared_master, b"GET " + path.encode("latin-1") + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    status = int(answer.split(" ", 2)[1])
    assert status in (400, 404), answer
    assert "Traceback" not in answer


_POST = b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\n"
_GET = b"GET /api/v1/tasks HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "head",
    [
        _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        _POST + b"Content-Length: -1\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _GET + b"X-Big: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /api/v1/tasks?" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        _GET + b"Bad Header: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
    ids=range(9),
)
async def test_broken_http_is_a_bad_request(
    shared_master: RunningMaster, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await _raw(shared_master, head)
    assert answer.split(" ", 2)[1] == "400", answer[:200]
    told = json.loads(answer.partition("\r\n\r\n")[2])
    assert told["code"] in ("bad_request", "header_too_large") and len(told["error"]) < 200
    assert not [line for line in caplog.records if line.levelname == "ERROR" or line.exc_info]


@pytest.mark.parametrize("coding, status", [("br", 415), ("gzip", 400), ("deflate", 400), ("zstd", 415)])
async def test_a_body_that_is_not_packed_as_it_says_is_told_without_a_traceback(
    shared_master: RunningMaster, coding: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await _post(shared_master, "/tasks", b"neither " * 9, **{"Content-Encoding": coding})
    _check(answer, status)
    assert not [line for line in caplog.records if line.levelname == "ERROR" or line.exc_info]


async def test_headers_that_drip_are_cut_off_and_a_connection_in_use_is_not(
    shared_master: RunningMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.kit.connection.HEADERS_SECONDS", 0.2)
    port = int(shared_master.url.rpartition(":")[2])
    dripping, drip = await asyncio.open_connection("127.0.0.1", port)
    used, use = await asyncio.open_connection("127.0.0.1", port)
    drip.write(_GET)
    use.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(5):
        assert await dripping.read() == b""
        assert b"200 OK" in await used.readuntil(b"\r\n\r\n")
    use.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(5):
        assert b"200 OK" in await used.readuntil(b"\r\n\r\n")
    drip.close()
    use.close()


async def test_random_bytes_and_bent_bodies_never_break_anything(shared_master: RunningMaster) -> None:
    chance = random.Random(20260301)
    good = json.dumps(task_body(env={"A": "1"}, ports=[{"containerPort": 80}], retry={"on": ["exit:1"]}))
    for _ in range(150):
        raw = bytearray(good.encode())
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice(b'{}[]",:0\\x\xff ')
        answer = await _post(shared_master, "/tasks", bytes(raw))
        assert answer.status in (201, 400, 403), (bytes(raw), answer.text)


async def test_values_of_every_wrong_type_never_break_anything(shared_master: RunningMaster) -> None:
    """Each field in turn holds each kind of value; the master answers 201 or a 4xx that names a field."""
    sample = await shared_master.api.submit()
    odd: list[Any] = [None, True, 0, -1, 2**63, 1.5, 1e300, "", "x", [], [None], {}, {"a": None}, [[]], [{}]]
    bodies = [task_body(**{field: value}) for field in sample for value in odd]
    for start in range(0, len(bodies), 1000):
        answer = await shared_master.api.post("/tasks:batch", {"tasks": bodies[start : start + 1000]})
        assert answer.status == 200
        for body, item in zip(bodies[start:], answer.json, strict=False):
            assert "taskId" in item or item["details"].get("field"), (body, item)


@pytest.mark.parametrize("label", ["a", "=b", ""])
async def test_a_label_filter_without_key_or_value_is_refused(
    shared_master: RunningMaster, label: str
) -> None:
    answer = await shared_master.api.get("/tasks", label=label)
    _check(answer, 400)
    assert answer.json["details"]["field"] == "label"
