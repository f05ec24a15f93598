"""The one way in which a value of the core is defined."""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")


def camel_case(name: str) -> str:
    """Return the outside name of a field: `run_at` is `runAt`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# Read by the wire layer's validator; plain data, so that the core needs no library for it.
_WIRE_CONFIG: dict[str, Any] = {
    "alias_generator": camel_case,
    "extra": "forbid",
    "strict": True,
    "allow_inf_nan": False,
}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[_T]) -> type[_T]:
    """Make `cls` a frozen, slotted dataclass with keyword arguments, readable from camelCase JSON."""
    cls.__pydantic_config__ = _WIRE_CONFIG  # type: ignore[attr-defined]
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


def changed(item: _T, **parts: Any) -> _T:
    """Return the value with other parts; `dataclasses.replace` for hot paths, which takes ten times as long.

    For values that no `__post_init__` checks.
    """
    kind = type(item)
    copy = _copies.get(kind)
    if copy is None:
        copy = _copies[kind] = _copier(kind)
    made: _T = copy(item, parts)
    return made


def beyond_defaults(item: Any) -> Any:
    """Return the fields of a value, and of the values in it, that are not as they are by default."""
    if isinstance(item, tuple | list):
        return [beyond_defaults(part) for part in item]
    if not is_dataclass(item):
        return item
    kind = type(item)
    known = _defaults.get(kind)
    if known is None:
        known = _defaults[kind] = tuple((field.name, default_of(field)) for field in fields(item))
    return {
        name: beyond_defaults(part)
        for name, default in known
        if (part := getattr(item, name)) is not default and part != default
    }


def default_of(field: Field[Any]) -> Any:
    """Return the field's default, MISSING if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


_defaults: dict[type[Any], tuple[tuple[str, Any], ...]] = {}


def _copier(kind: type[Any]) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a function that copies a value with other parts.

    Nothing but plain assignment is fast, and a frozen class has none: so a class with the same slots takes
    them, and becomes the frozen one. The function is made from text, as a dataclass's own are.
    """
    names = [field.name for field in fields(kind)]
    thawed = type(kind.__name__, (), {"__slots__": tuple(names)})
    lines = [
        "def copy(item, parts):",
        "    made = new(thawed)",
        *(f"    made.{name} = item.{name}" for name in names),
        "    for name, part in parts.items():",
        "        setattr(made, name, part)",
        "    made.__class__ = kind",
        "    return made",
    ]
    scope: dict[str, Any] = {"new": object.__new__, "thawed": thawed, "kind": kind}
    exec("\n".join(lines), scope)
    made: Callable[[Any, dict[str, Any]], Any] = scope["copy"]
    return made


_copies: dict[type[Any], Callable[[Any, dict[str, Any]], Any]] = {}
