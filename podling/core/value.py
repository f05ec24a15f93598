"""The one way in which a value of the core is defined."""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from operator import attrgetter
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
    """Return the value with other parts; `dataclasses.replace` for hot paths, which takes thrice as long.

    For values of two fields or more that no `__post_init__` checks.
    """
    slots = _slots.get(type(item))
    if slots is None:
        slots = _slots[type(item)] = _Slots(type(item))
    made: _T = object.__new__(type(item))
    for put, part in zip(slots.puts, slots.read(item), strict=True):
        put(made, part)
    for name, part in parts.items():
        slots.by_name[name](made, part)
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
        known = _defaults[kind] = tuple((field.name, _default(field)) for field in fields(item))
    return {
        name: beyond_defaults(part)
        for name, default in known
        if (part := getattr(item, name)) is not default and part != default
    }


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


_defaults: dict[type[Any], tuple[tuple[str, Any], ...]] = {}


class _Slots:
    """How all fields of a class are read at once, and each is written although it is frozen."""

    def __init__(self, kind: type[Any]) -> None:
        self.by_name: dict[str, Callable[[Any, Any], None]] = {
            field.name: getattr(kind, field.name).__set__ for field in fields(kind)
        }
        self.puts = tuple(self.by_name.values())
        self.read: Callable[[Any], tuple[Any, ...]] = attrgetter(*self.by_name)


_slots: dict[type[Any], _Slots] = {}
