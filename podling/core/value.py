"""The one way in which a value of the core is defined."""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
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


MANY_FIELDS = 6
"""From so many on the way round pays."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def value(cls: type[_T]) -> type[_T]:
    """Make `cls` a frozen, slotted dataclass with keyword arguments, readable from camelCase JSON."""
    cls.__pydantic_config__ = _WIRE_CONFIG  # type: ignore[attr-defined]
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    plain = made.__bases__ == (object,) and not hasattr(made, "__post_init__")
    if plain and len(fields(made)) >= MANY_FIELDS:  # type: ignore[arg-type]
        made.__init__ = _maker(made)  # type: ignore[method-assign]
    return made


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
    kind = type(item)
    if not defaults_of(kind):
        return item
    read = _readers.get(kind)
    if read is None:
        read = _readers[kind] = reader_beyond_defaults(kind)
    return {name: beyond_defaults(part) for name, part in read(item).items()}


def reader_beyond_defaults(
    kind: type[Any], rename: Callable[[str], str] = str, always: frozenset[str] = frozenset()
) -> Callable[[Any], dict[str, Any]]:
    """Return a function that gives those fields of a value that are not as they are by default.

    `rename` makes the names that they are given by; those named `always` are never left out.
    """
    scope, lines = {}, ["def read(item):", "    read = {}"]
    for number, (name, default) in enumerate(defaults_of(kind)):
        scope[f"_{number}"] = MISSING if name in always else default
        lines += [
            f"    part = item.{name}",
            f"    if part is not _{number} and part != _{number}:",
            f"        read[{rename(name)!r}] = part",
        ]
    return _function("read", [*lines, "    return read"], scope)


def sharing_defaults(item: _T) -> _T:
    """Return the value with the one default that all share wherever a part of it equals that.

    Telling such parts from others then takes no look into them. For values that no `__post_init__` checks.
    """
    shared = {
        name: default
        for name, default in defaults_of(type(item))
        if (part := getattr(item, name)) is not default and part == default
    }
    return changed(item, **shared) if shared else item


def defaults_of(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Return each field's name and default, MISSING if it has none; nothing for what is no value."""
    known = _defaults.get(kind)
    if known is None:
        given = fields(kind) if is_dataclass(kind) else ()
        known = _defaults[kind] = tuple((field.name, _default_of(field)) for field in given)
    return known


def _default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


_defaults: dict[type[Any], tuple[tuple[str, Any], ...]] = {}
_readers: dict[type[Any], Callable[[Any], dict[str, Any]]] = {}


def _copier(kind: type[Any]) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a function that copies a value with other parts. See `_thawed`."""
    if kind.__bases__ != (object,):  # its slots lie otherwise than those of a class that has them all itself
        return lambda item, parts: replace(item, **parts)
    lines = [
        "def copy(_item, _parts):",
        "    _made = _new(_thawed)",
        *(f"    _made.{field.name} = _item.{field.name}" for field in fields(kind)),
        "    for _name, _part in _parts.items():",
        "        setattr(_made, _name, _part)",
        "    _made.__class__ = _kind",
        "    return _made",
    ]
    return _function("copy", lines, {"_new": object.__new__, "_thawed": _thawed(kind), "_kind": kind})


def _maker(kind: type[Any]) -> Callable[..., None]:
    """Return an `__init__` that takes half the time of the dataclass's own. See `_thawed`."""
    scope: dict[str, Any] = {"_set": object.__setattr__, "_thawed": _thawed(kind), "_kind": kind}
    arguments, lines = [], []
    for field in fields(kind):
        name = field.name
        if field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            arguments.append(f"{name}=_set")
            lines.append(f"    self.{name} = _make_{name}() if {name} is _set else {name}")
            continue
        if field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
        arguments.append(name if field.default is MISSING else f"{name}=_default_{name}")
        lines.append(f"    self.{name} = {name}")
    head = [f"def __init__(self, *, {', '.join(arguments)}):", "    _set(self, '__class__', _thawed)"]
    made = _function("__init__", [*head, *lines, "    self.__class__ = _kind"], scope)
    made.__annotations__ = kind.__init__.__annotations__
    made.__qualname__ = kind.__init__.__qualname__
    return made


def _thawed(kind: type[Any]) -> type[Any]:
    """Return a class with the same slots that is not frozen.

    Nothing but plain assignment is fast, and a frozen class has none: so this one takes the parts, and
    becomes the frozen one.
    """
    return type(kind.__name__, (), {"__slots__": tuple(field.name for field in fields(kind))})


def _function(name: str, lines: list[str], scope: dict[str, Any]) -> Callable[..., Any]:
    """Make a function from text, as those of a dataclass are, of the names of fields alone."""
    exec("\n".join(lines), scope)
    made: Callable[..., Any] = scope[name]
    return made


_copies: dict[type[Any], Callable[[Any, dict[str, Any]], Any]] = {}
