"""From JSON to a statement's parameters, and from its rows to JSON.

Most types that JSON has not are written and read as PostgreSQL writes them: `2026-11-27`, `\\x00ff`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import orjson

from podling.core.errors import InvalidInput

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

_WHOLE = frozenset({"int2", "int4", "int8", "oid", "xid", "cid"})
_REAL = frozenset({"float4", "float8"})
_JSON = ("json", "jsonb")
_AS_TEXT = tuple(
    "numeric date time timetz timestamp timestamptz interval uuid inet cidr macaddr macaddr8 bytea money bit"
    " varbit point line lseg box path polygon circle".split()
)
_RANGES = {
    "int4range": 3904, "numrange": 3906, "tsrange": 3908, "tstzrange": 3910, "daterange": 3912,
    "int8range": 3926, "int4multirange": 4451, "nummultirange": 4532, "tsmultirange": 4533,
    "tstzmultirange": 4534, "datemultirange": 4535, "int8multirange": 4536,
}  # fmt: skip
_NATIVE = frozenset(
    {*_RANGES, *_WHOLE, *_REAL, *_JSON, *_AS_TEXT, "bool", "text", "varchar", "bpchar", "name", "char"}
)


async def prepare_connection(connection: "Connection") -> None:
    """Have it speak of values as JSON can hold them."""
    for name in _AS_TEXT:
        await _as_text(connection, name, "pg_catalog")
    driver: Any = connection  # which lets nobody have ranges as text in any other way
    settings = driver._protocol.get_settings()
    for name, oid in _RANGES.items():
        settings.add_python_codec(oid, name, "pg_catalog", [], "scalar", str, str, "text")
    for name in _JSON:
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_json_text, decoder=_json_value, format="text"
        )


async def _as_text(connection: "Connection", name: str, schema: str) -> None:
    await connection.set_type_codec(name, schema=schema, encoder=str, decoder=str, format="text")


async def learn(connection: "Connection", types: Sequence[asyncpg.Type]) -> bool:
    """Have parameters of types that the driver does not know sent as text; whether there were any.

    What was prepared before has to be prepared again then. Raises InvalidInput.
    """
    unknown = [
        (number, kind)
        for number, kind in enumerate(types, 1)
        if kind.schema != "pg_catalog" or kind.name.removesuffix("[]") not in _NATIVE
    ]
    for number, kind in unknown:
        if kind.kind != "scalar":
            problem = f"has the type {kind.name}, which JSON has not; write ${number}::text::{kind.name}"
            raise InvalidInput.field(f"parameters.{number - 1}", problem)
        await _as_text(connection, kind.name, kind.schema)
    return bool(unknown)


def arguments_of(types: Sequence[asyncpg.Type], given: Sequence[Any]) -> list[Any]:
    """Return what is bound for $1, $2, …, as the statement's types want it. Raises InvalidInput."""
    if len(given) != len(types):
        problem = f"the statement has {len(types)} (the largest $n in it), and {len(given)} were given"
        raise InvalidInput.field("parameters", problem)
    return [
        _argument(f"parameters.{index}", kind.name, one)
        for index, (kind, one) in enumerate(zip(types, given, strict=True))
    ]


def _argument(field: str, name: str, given: Any) -> Any:
    if given is None:
        return None
    if name.endswith("[]"):
        if not isinstance(given, list):
            raise _mismatch(field, name, given)
        inner = name if any(isinstance(one, list) for one in given) else name.removesuffix("[]")
        return [_argument(field, inner, one) for one in given]
    if name in _JSON:
        return given
    if isinstance(given, list | dict):
        raise _mismatch(field, name, given)
    if name == "bool":
        return _bool(field, given)
    if name in _WHOLE or name in _REAL:
        return _number(field, name, given)
    return given if isinstance(given, str) else orjson.dumps(given).decode()


def _bool(field: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise _mismatch(field, "bool", given)
    return given


def _number(field: str, name: str, given: Any) -> int | float:
    kind = int if name in _WHOLE else float
    if isinstance(given, bool) or (kind is int and isinstance(given, float)):
        raise _mismatch(field, name, given)
    try:
        return kind(given)
    except ValueError:
        raise _mismatch(field, name, given) from None


def _mismatch(field: str, name: str, given: Any) -> InvalidInput:
    shown = orjson.dumps(given).decode()
    return InvalidInput.field(field, f"the statement wants {name} here, not {shown[:80]}")


def names_of(attributes: Sequence[asyncpg.Attribute]) -> tuple[str, ...]:
    """Return the names of the columns; one that comes again is told apart by its place."""
    found: list[str] = []
    for index, attribute in enumerate(attributes, 1):
        found.append(f"{attribute.name}_{index}" if attribute.name in found else attribute.name)
    return tuple(found)


def row_json(names: Sequence[str], row: asyncpg.Record) -> bytes:
    """Return the row as one JSON object."""
    plain = {name: _plain(one) for name, one in zip(names, row.values(), strict=True)}
    return orjson.dumps(plain, default=str)


def _plain(given: Any) -> Any:
    if isinstance(given, float):
        return given if math.isfinite(given) else str(given)
    if isinstance(given, asyncpg.Record):
        return {name: _plain(one) for name, one in given.items()}
    if isinstance(given, Mapping):
        return given  # JSON of its own
    if isinstance(given, list | tuple):
        return [_plain(one) for one in given]
    return given.decode(errors="backslashreplace") if isinstance(given, bytes) else given


def _json_text(given: Any) -> str:
    return orjson.dumps(given).decode()


def _json_value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # such as half of a surrogate pair, which PostgreSQL lets through
