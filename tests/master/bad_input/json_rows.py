"""JSON: what no reader should have to guess, and masses that nobody means."""

from podling.wire.body import MOST_NAMES, MOST_VALUES
from tests.master.bad_input.rows import Row, post, row

PATHS = ["/tasks", "/tasks:batch", "/nodes/register", "/nodes/node-1/tails"]


def task(fields: str) -> bytes:
    return b'{"name":"job","image":"busybox:local",' + fields.encode() + b"}"


def _deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def _many(item: str, count: int) -> str:
    return ",".join([item] * count)


BROKEN = {
    "no body": b"",
    "blank": b"  ",
    "cut off": b'{"name":',
    "garbage": b"\x00\xff\xfe",
    "null": b"null",
    "array": b"[]",
    "string": b'"job"',
    "number": b"5",
    "true": b"true",
    "two objects": b"{}{}",
    "trailing comma": b'{"name":"job",}',
    "single quotes": b"{'name':'job'}",
    "comment": b'{"name":"job" /* x */}',
    "BOM": b"\xef\xbb\xbf" + task('"priority":1'),
    "UTF-16": task('"priority":1').decode().encode("utf-16"),
    "UTF-16 without a BOM": task('"priority":1').decode().encode("utf-16-le"),
    "UTF-32": task('"priority":1').decode().encode("utf-32"),
    "Latin-1": task('"user":"\u00e4"').decode().encode("latin-1"),
    "overlong UTF-8": b'{"name":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"name":"\xed\xa0\x80"}',
    "NaN": task('"timeoutSeconds":NaN'),
    "Infinity": task('"timeoutSeconds":Infinity'),
    "-Infinity": task('"timeoutSeconds":-Infinity'),
    "1e999": task('"timeoutSeconds":1e999'),
    "5,000 digits": task('"priority":' + "9" * 5000),
    "4 million digits": task('"priority":' + "9" * 4_000_000),
    "leading zero": task('"priority":01'),
    "leading plus": task('"priority":+1'),
    "bare point": task('"timeoutSeconds":.5'),
    "hexadecimal": task('"priority":0x10'),
    "lone surrogate": task('"user":"\\ud800"'),
    "half of a pair": task('"user":"\\udc00\\ud800"'),
    "lone surrogate in a name": task('"\\ud800":1'),
    "unknown escape": task('"user":"\\x41"'),
    "raw control character": b'{"name":"a\nb"}',
    "raw NUL": b'{"name":"a\0b"}',
    "unquoted name": b'{name:"job"}',
    "doubled name": task('"name":"other"'),
    "doubled name inside": task('"env":{"A":"1","A":"2"}'),
    "doubled by an escape": task('"env":{"A":"1","\\u0041":"2"}'),
    "doubled output field": task('"status":"a","status":"b"'),
    "doubled unknown field": task('"x":1,"x":2'),
    "65 levels": task('"labels":' + _deep(64)),
    "300 levels": task('"labels":' + _deep(300)),
    "100,000 levels": task('"labels":' + _deep(100_000)),
    "100,000 open brackets": b"[" * 100_000,
    "four million open brackets": b"[" * 4_000_000,
    "urlencoded": b"name=job&image=busybox%3Alocal",
}

SAYS = {
    "BOM": "must be UTF-8: it begins with a byte order mark",
    "UTF-16": "must be UTF-8: by its byte order mark it is UTF-16",
    "UTF-16 without a BOM": "must be UTF-8: it looks like UTF-16",
    "UTF-32": "must be UTF-8: by its byte order mark it is UTF-32",
    "Latin-1": "must be UTF-8: its byte 47 is not",
    "overlong UTF-8": "must be UTF-8: its byte 10 is not",
    "trailing comma": "is not valid JSON",
    "null": "must be a JSON object",
}
"""What has to be told of some of these."""

MASSES = {
    "a million names": "{" + ",".join(f'"{n:x}":1' for n in range(400_000)) + "}",
    "the same name a million times": "{" + _many('"a":1', 600_000) + "}",
    "more names than an object may have": "{" + ",".join(f'"{n}":1' for n in range(MOST_NAMES + 1)) + "}",
    "more labels than an object may have": task(
        '"labels":{' + ",".join(f'"{n}":"1"' for n in range(MOST_NAMES + 1)) + "}"
    ).decode(),
    "too many numbers": task(f'"args":[{_many("1", MOST_VALUES)}]').decode(),
    "too many strings": task(f'"args":[{_many(chr(34) * 2, MOST_VALUES)}]').decode(),
    "too many empty lists": task(f'"ports":[{_many("[]", MOST_VALUES // 2)}]').decode(),
    "too many empty objects": task(f'"ports":[{_many("{}", MOST_VALUES // 2)}]').decode(),
}

NUL = {
    '"user":"a\\u0000"': "user",
    '"env":{"A":"\\u0000"}': "env.A",
    '"env":{"\\u0000A":"x"}': "env.\\u0000A",
    '"args":["ok","a\\u0000b"]': "args.1",
    '"error":"\\u0000"': "error",
    '"surprise":"\\u0000"': "surprise",
}

MANY_FAULTS = {
    '"args":[' + _many("1", 190_000) + "]": "args.0",
    '"ports":[' + _many("{}", 90_000) + "]": "ports.0.containerPort",
    '"env":{' + ",".join(f'"A{n}":1' for n in range(MOST_NAMES)) + "}": "env.A0",
    '"retry":{' + ",".join(f'"A{n}":1' for n in range(MOST_NAMES)) + "}": "retry.A0",
}

ROWS: list[Row] = [
    *[
        row(f"{name} to {path}", post(path, body), 400, "invalid_json", says=SAYS.get(name, ""))
        for name, body in BROKEN.items()
        for path in PATHS
    ],
    *[row(name, post("/tasks", body.encode()), 400, "invalid_json") for name, body in MASSES.items()],
    *[
        row(f"NUL in {name}", post("/tasks", task(text)), 400, "invalid_field", field=name)
        for text, name in NUL.items()
    ],
    *[
        row(
            f"many faults in {name}",
            post("/tasks", task(text)),
            400,
            "invalid_field",
            "unknown_field",
            field=name,
        )
        for text, name in MANY_FAULTS.items()
    ],
]
