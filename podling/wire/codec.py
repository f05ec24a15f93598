"""JSON in and out for the core's values. Fields are camelCase, times RFC 3339 in UTC."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from operator import attrgetter
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from podling.core.errors import InvalidInput
from podling.core.value import camel_case, reader_beyond_defaults

_T = TypeVar("_T")


def rfc3339(at: datetime) -> str:
    """Return `at` with six decimals and `Z`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='microseconds')[:-6]}Z"


def outside(value: Any) -> Any:
    """Return what JSON writes for a value of the core, one level deep: its parts are as they were."""
    kind = type(value)
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = _reader(kind)
    return reader(value)


_readers: dict[type[Any], Callable[[Any], Any]] = {}


def _reader(kind: type[Any]) -> Callable[[Any], Any]:
    if is_dataclass(kind):
        return _fields_reader(tuple(field.name for field in fields(kind)))
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, datetime):
        return rfc3339
    if issubclass(kind, Mapping):
        return lambda value: {str(key): item for key, item in value.items()}
    if issubclass(kind, tuple | list | frozenset | set):
        return list
    raise TypeError(f"no JSON form for {kind.__name__}")


def _fields_reader(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return what reads all fields at once: many at a time are several times faster than one by one."""
    if len(names) < 2:  # then `attrgetter` gives no tuple
        return lambda value: {camel_case(name): getattr(value, name) for name in names}
    read, names = attrgetter(*names), tuple(map(camel_case, names))
    return lambda value: dict(zip(names, read(value), strict=True))


def to_plain(value: Any) -> Any:
    """Return dicts, lists, strings and numbers for a value of the core."""
    if type(value) in _ATOMS:
        return value
    shown = outside(value)
    if type(shown) is dict:
        return {name: to_plain(item) for name, item in shown.items()}
    return [to_plain(item) for item in shown] if type(shown) is list else shown


_ATOMS = frozenset({str, int, float, bool, type(None)})
_AS_WE_WRITE_IT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS


def encode(value: Any, *, sort_names: bool = False) -> bytes:
    """Return the JSON of a value of the core (or of plain data)."""
    option = _AS_WE_WRITE_IT | orjson.OPT_SORT_KEYS if sort_names else _AS_WE_WRITE_IT
    return orjson.dumps(value, default=outside, option=option)


class Compact:
    """JSON without the fields that are as they are by default, for a reader that knows those too.

    `rename` makes a field's name outside; the fields named `always` are never left out.
    """

    def __init__(self, rename: Callable[[str], str], always: frozenset[str] = frozenset()) -> None:
        self._rename = rename
        self._always = always
        self._readers: dict[type[Any], Callable[[Any], Any]] = {}

    def encode(self, value: Any) -> bytes:
        return orjson.dumps(value, default=self._shown, option=_COMPACT)

    def _shown(self, value: Any) -> Any:
        kind = type(value)
        reader = self._readers.get(kind)
        if reader is None:
            reader = self._readers[kind] = self._reader(kind)
        return reader(value)

    def _reader(self, kind: type[Any]) -> Callable[[Any], Any]:
        if not is_dataclass(kind):
            return _reader(kind)
        return reader_beyond_defaults(kind, self._rename, self._always)


_COMPACT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


encode_compactly = Compact(camel_case).encode

_adapters: dict[type[Any], TypeAdapter[Any]] = {}
_validators: dict[type[Any], SchemaValidator] = {}
_MANY = frozenset({"tuple", "list", "set", "frozenset", "dict"})


def adapter(kind: type[_T]) -> TypeAdapter[_T]:
    """Return what pydantic knows of a value's class; made once."""
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def validator(kind: type[Any]) -> SchemaValidator:
    """Return the validator for a value's class; made once."""
    found = _validators.get(kind)
    if found is None:
        found = _validators[kind] = SchemaValidator(_failing_fast(adapter(kind).core_schema))
    return found


def _failing_fast(schema: Any) -> Any:
    """Have lists end at their first fault: two million of them took 13 seconds to tell, and one is told."""
    if isinstance(schema, dict):
        inner = {name: _failing_fast(part) for name, part in schema.items()}
        return inner | {"fail_fast": True} if schema.get("type") in _MANY else inner
    if isinstance(schema, list | tuple):
        return type(schema)(map(_failing_fast, schema))
    return schema


def decode(kind: type[_T], body: bytes | str) -> _T:
    """Read a value of class `kind` from JSON. Raises InvalidInput that names the field."""
    try:
        value: _T = validator(kind).validate_json(body)
    except ValidationError as error:
        raise translate(error) from None
    return value


def decode_leniently(kind: type[_T], body: bytes | str) -> _T:
    """Read what another version of Podling may have written: fields that this one lacks are left out."""
    try:
        value: _T = validator(kind).validate_json(body, extra="ignore")
    except ValidationError as error:
        raise translate(error) from None
    return value


def translate(error: ValidationError) -> InvalidInput:
    """Return the sentence for the first fault that the validator found."""
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return InvalidInput(f"the body is not valid JSON: {first['msg']}", code="invalid_json")
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return InvalidInput(f"{path}: no such field", code="unknown_field", details={"field": path})
    if first["type"] in ("missing", "missing_keyword_only_argument"):
        return InvalidInput.field(path, "is required")
    return InvalidInput.field(path or "body", _problem(first["msg"]))


def _problem(message: str) -> str:
    return message[:1].lower() + message[1:].replace("Input", "it")
