"""Patterns of keys: SQL's LIKE, and globs with `*`.

A pattern with an unescaped `*` is a glob, in which `%` and `_` are letters like all others; any other
is one of LIKE, in which `%` stands for any text and `_` for one character. In both, a backslash makes a
letter of the character that follows.
"""

from enum import Enum

ESCAPE = "\\"


class Wild(Enum):
    """What stands for something else in a pattern."""

    TEXT = "any text, or none"
    CHARACTER = "one character"


Pattern = tuple[str | Wild, ...]
"""Single characters, and what stands for others."""

EVERYTHING: Pattern = (Wild.TEXT,)


def parse_pattern(text: str) -> Pattern:
    """Read a pattern; a backslash at its end is itself."""
    is_glob = any(character == "*" and not is_escaped for character, is_escaped in _letters(text))
    wild = {"*": Wild.TEXT} if is_glob else {"%": Wild.TEXT, "_": Wild.CHARACTER}
    return tuple(
        character if is_escaped else wild.get(character, character)
        for character, is_escaped in _letters(text)
    )


def _letters(text: str) -> list[tuple[str, bool]]:
    """Return the characters, each with whether a backslash stands before it."""
    letters: list[tuple[str, bool]] = []
    rest = iter(text)
    for character in rest:
        if character == ESCAPE:
            letters.append((next(rest, ESCAPE), True))
        else:
            letters.append((character, False))
    return letters


def literal(text: str) -> Pattern:
    """Return the pattern of this very text."""
    return tuple(text)


def to_like(pattern: Pattern) -> str:
    """Return the pattern as LIKE reads it, with the backslash for its escape."""
    return "".join(_like(part) for part in pattern)


def _like(part: str | Wild) -> str:
    if isinstance(part, Wild):
        return "%" if part is Wild.TEXT else "_"
    return ESCAPE + part if part in "%_\\" else part


def matches(pattern: Pattern, text: str) -> bool:
    """Whether the whole text is what the pattern stands for.

    It takes at most their two lengths multiplied, where a regular expression might take for ever.
    """
    place, at = 0, 0
    star, resumed = -1, 0  # the last `*`, and how far what it stands for reaches
    while at < len(text):
        part = pattern[place] if place < len(pattern) else None
        if part is Wild.TEXT:
            star, resumed = place, at
            place += 1
        elif part is Wild.CHARACTER or part == text[at]:
            place, at = place + 1, at + 1
        elif star >= 0:
            resumed += 1
            place, at = star + 1, resumed
        else:
            return False
    return all(part is Wild.TEXT for part in pattern[place:])
