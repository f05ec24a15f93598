"""Checks of single fields, used by every rule of what may come in. Each raises InvalidInput.

`field` is always the outside name, in camelCase with dots: `containers.0.image`.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from podling.core.errors import InvalidInput
from podling.core.quantity import MAX_AMOUNT

MAX_NAME_CHARACTERS = 253
MIN_MEMORY = 6 * 1024**2  # Docker starts nothing below
MAX_CPU = 10**6
MAX_SECONDS = 3653 * 86400.0  # ten years

_UNPRINTABLE = frozenset(
    {"Cc", "Cf", "Cs", "Zl", "Zp"}
)  # Cf: bidirectional controls, zero width and their like

_LABEL_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LABEL_KEY = re.compile(rf"(?:({_DNS_LABEL}(?:\.{_DNS_LABEL})*)/)?{_LABEL_NAME}", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,126}[A-Za-z0-9])?", re.ASCII)

Choice = TypeVar("Choice", bound=StrEnum)


def one_of(kind: type[Choice], field: str, given: Any) -> Choice:
    """Return what is meant of an enumeration by its outside name."""
    if given not in tuple(kind):
        raise InvalidInput.field(field, f"must be one of {', '.join(kind)}")
    return kind(given)


def check_number(
    field: str, number: float, low: float, high: float, *, above: bool = False, unit: str = ""
) -> None:
    """Refuse a number outside `low` to `high`; with `above` `low` itself is refused too."""
    if (low < number if above else low <= number) and number <= high:
        return
    least = f"more than {low:g}" if above else f"at least {low:.17g}"
    raise InvalidInput.field(field, f"must be {least} and at most {high:.17g}{unit}")


def check_seconds(field: str, seconds: float | None) -> None:
    """Refuse a duration that is not above zero or longer than ten years; None is absent."""
    if seconds is not None:
        check_number(field, seconds, 0, MAX_SECONDS, above=True, unit=" seconds (ten years)")


def check_text(field: str, text: str, longest: int = 4096) -> None:
    """Refuse an empty or overlong text, and characters that would not show or not be stored."""
    if not text.strip():
        raise InvalidInput.field(field, "must not be empty")
    check_length(field, text, longest)
    if not text.isascii() or not text.isprintable():
        _check_characters(field, text)


def check_length(field: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise InvalidInput.field(field, f"must have at most {longest} characters, not {len(text)}")


def _check_characters(field: str, text: str) -> None:
    for character in text:
        category = unicodedata.category(character)
        if category in _UNPRINTABLE:
            kind = "invisible character" if category == "Cf" else "control character"
            raise InvalidInput.field(field, f"must not contain the {kind} U+{ord(character):04X}")


def check_storable(field: str, text: str, longest: int) -> None:
    """Refuse what no program can be given: NUL and lone surrogates, and more than `longest`."""
    check_length(field, text, longest)
    if "\0" in text:
        raise InvalidInput.field(field, "must not contain a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput.field(field, "must not contain half of a surrogate pair")


def check_count(field: str, items: Collection[object], most: int) -> None:
    if len(items) > most:
        raise InvalidInput.field(field, f"must have at most {most} entries, not {len(items)}")


def check_pattern(field: str, text: str, pattern: re.Pattern[str], problem: str) -> None:
    if not pattern.fullmatch(text):
        raise InvalidInput.field(field, problem)


def check_identifier(field: str, text: str) -> None:
    """Refuse what cannot be a queue's, a node's or a task's name in an address."""
    problem = "must be 1 to 128 letters, digits, '_', '.', ':' and '-', a letter or digit at both ends"
    check_pattern(field, text, _IDENTIFIER, problem)


def check_label_key(field: str, key: str) -> None:
    """Refuse a key that is not `name` or `domain/name`, as Kubernetes writes them."""
    match = _LABEL_KEY.fullmatch(key)
    if not match or len(match[1] or "") > MAX_NAME_CHARACTERS:
        problem = f"the key {key[:80]!r} is not of the form name or domain/name"
        raise InvalidInput.field(field, problem)


def check_labels(field: str, labels: Mapping[str, str], *, reserved: bool = False) -> None:
    """Refuse broken labels, and keys of Podling's own unless `reserved` allows them."""
    check_count(field, labels, 100)
    for key, text in labels.items():
        check_label_key(field, key)
        if not reserved and _is_reserved(key):
            raise InvalidInput.field(field, f"the key {key!r} belongs to Podling; choose another")
        if text:
            check_text(f"{field}.{key}", text, MAX_NAME_CHARACTERS)


def _is_reserved(key: str) -> bool:
    domain = key.partition("/")[0]
    return domain == "podling" or key.startswith("podling.") or domain.endswith(".podling.io")


def check_path(field: str, path: str) -> None:
    """Refuse a path that is not absolute and plain."""
    check_text(field, path)
    if not path.startswith("/"):
        raise InvalidInput.field(field, "must be an absolute path")
    if ".." in path.split("/"):
        raise InvalidInput.field(field, "must not contain '..'")


def check_amount(field: str, resource: str, amount: int, *, most: int = MAX_AMOUNT) -> None:
    """Refuse an amount of a resource that nothing can have."""
    if resource == "cpu":
        check_number(field, amount, 1, min(MAX_CPU, most), unit=" millicores")
    elif resource == "memory":
        check_number(field, amount, MIN_MEMORY, most, unit=" bytes")
    else:
        check_number(field, amount, 1, most)
