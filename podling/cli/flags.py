"""What several flags of one kind have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from podling.core.errors import InvalidInput


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read `K=V` of a repeatable option. Raises InvalidInput that names it."""
    return dict(_pair(option, text) for text in texts or ())


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, given = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{option}: {text!r} is not NAME=VALUE")
    return name, given


def choice(option: str, text: str | None, choices: Mapping[str, str]) -> str | None:
    """Return what the word means to the API. Raises InvalidInput that names the option."""
    if text is None:
        return None
    chosen = choices.get(text.lower())
    if chosen is None:
        raise InvalidInput(f"{option}: {text!r} is none of {', '.join(choices)}")
    return str(chosen)


def given_only(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are neither None nor empty."""
    return {name: item for name, item in fields.items() if item is not None and item not in ({}, [])}
