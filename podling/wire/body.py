"""The body of a request: JSON, read without guessing what was meant."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from podling.core.errors import InvalidInput

MOST_LEVELS = 64
MOST_VALUES = 200_000
"""In a whole body: what reading one costs grows with them, and everybody waits meanwhile."""

MOST_NAMES = 4_000
"""In one object; no field of Podling's may have so many."""

_LONGEST_NAME = 80
_NUL = b"\\u0000"
_MARKS = {  # the longer ones before those that they begin with
    b"\xef\xbb\xbf": "it begins with a byte order mark; leave that out",
    b"\xff\xfe\0\0": "by its byte order mark it is UTF-32",
    b"\0\0\xfe\xff": "by its byte order mark it is UTF-32",
    b"\xff\xfe": "by its byte order mark it is UTF-16",
    b"\xfe\xff": "by its byte order mark it is UTF-16",
}


def load_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises InvalidInput, also for doubled names, NUL, deep nesting and masses."""
    _check_count(body)
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = _encoding_problem(body) or f"the body is not valid JSON: {error}"
        raise InvalidInput(problem, code="invalid_json") from None
    if _check_structure(plain) != body.count(b":"):  # each name has a colon: a doubled one leaves one over
        _check_names(body)
    if _NUL in body:
        _check_nul(plain, "")
    return as_object(plain)


def as_object(plain: Any) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise InvalidInput("the body must be a JSON object", code="invalid_json")
    return plain


def refuse_unknown(given: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise InvalidInput for the first name that is not known."""
    for name in given:
        if name not in known:
            short = name[:_LONGEST_NAME]
            raise InvalidInput(f"{short}: no such field", code="unknown_field", details={"field": short})


def _encoding_problem(body: bytes) -> str | None:
    """Return what is wrong with the encoding of what could not be read as JSON, if that is it."""
    for mark, meaning in _MARKS.items():
        if body.startswith(mark):
            return f"the body must be UTF-8: {meaning}"
    if b"\0" in body[:2] and b"{" in body[:4]:
        return "the body must be UTF-8: it looks like UTF-16 or UTF-32"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"the body must be UTF-8: its byte {error.start + 1} is not"
    return None


def _check_count(body: bytes) -> None:
    """Refuse too many values before anything is made of them; what only looks so is looked at again."""
    if _most_values(body) > MOST_VALUES and _most_values(_without_strings(body)) > MOST_VALUES:
        raise InvalidInput(f"the body has more than {MOST_VALUES} values", code="invalid_json")


def _most_values(body: bytes) -> int:
    """Return how many values there can be at most: commas and brackets in strings are counted too."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def _without_strings(body: bytes) -> bytes:
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(unescaped.split(b'"')[::2])


def _check_structure(plain: Any) -> int:
    """Return how many names there are in all objects together."""
    level, names = [plain], 0
    for _ in range(MOST_LEVELS):
        counts = [len(item) for item in level if isinstance(item, dict)]
        if counts and max(counts) > MOST_NAMES:
            raise InvalidInput(f"an object has more than {MOST_NAMES} names", code="invalid_json")
        names += sum(counts)
        level = [inner for item in level for inner in _inner(item) if isinstance(inner, dict | list)]
        if not level:
            return names
    raise InvalidInput(f"the body is nested deeper than {MOST_LEVELS} levels", code="invalid_json")


def _inner(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def _check_names(body: bytes) -> None:
    """Of two values under one name a reader would silently drop one."""
    _names_reader.decode(body.decode())


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            short = name[:_LONGEST_NAME]
            raise InvalidInput(f"{short}: is given twice", code="invalid_json", details={"field": short})
        seen.add(name)


_names_reader = json.JSONDecoder(object_pairs_hook=_unique)  # making one takes longer than most bodies


def _check_nul(item: Any, path: str) -> None:
    """The character NUL ends a string for too many readers, and no database column keeps it."""
    if isinstance(item, str) and "\0" in item:
        raise InvalidInput.field(path or "body", "must not contain a NUL character")
    if isinstance(item, dict):
        for name, inner in item.items():
            place = f"{path}.{name[:_LONGEST_NAME]}".removeprefix(".").replace("\0", "\\u0000")
            if "\0" in name:
                raise InvalidInput.field(place, "must not contain a NUL character in its name")
            _check_nul(inner, place)
    elif isinstance(item, list):
        for index, inner in enumerate(item):
            _check_nul(inner, f"{path}.{index}".removeprefix("."))
