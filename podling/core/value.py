"""The one way in which a value of the core is defined."""

from dataclasses import dataclass
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
