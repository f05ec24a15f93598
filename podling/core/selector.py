"""Label selectors as texts: `k=v`, `k!=v`, `k`, `!k`, `k in (v, w)`, `k notin (v, w)`."""

import re
from collections.abc import Mapping, Sequence

from podling.core.errors import InvalidInput
from podling.core.spec import Constraint, Operator

_SET = re.compile(r"([^\s=!()]+) +(in|notin) +\(([^()]*)\)")


def parse_selectors(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Read selectors, which are joined by and. Raises InvalidInput."""
    return tuple(map(_selector, texts))


def _selector(text: str) -> Constraint:
    if (found := _SET.fullmatch(text.strip())) is not None:
        values = tuple(item.strip() for item in found[3].split(","))
        return Constraint(
            label=found[1], operator=Operator.IN if found[2] == "in" else Operator.NOT_IN, values=values
        )
    label, equals, wanted = text.partition("=")
    if equals and label.endswith("!"):
        return _checked(label[:-1], Operator.NOT_IN, wanted)
    if equals:
        return _checked(label, Operator.IN, wanted.removeprefix("="))
    if text.startswith("!"):
        return _checked(text[1:], Operator.DOES_NOT_EXIST)
    return _checked(text, Operator.EXISTS)


def _checked(label: str, operator: Operator, *values: str) -> Constraint:
    if not label or (not values and re.search(r"[\s!()]", label)):
        raise InvalidInput.field(
            "label", "must be written k=v (app=web), k!=v, k, !k, k in (v, w) or k notin (v, w)"
        )
    return Constraint(label=label, operator=operator, values=values)


def split_exact(
    selectors: Sequence[Constraint],
) -> tuple[Mapping[str, str], tuple[Constraint, ...]]:
    """Return what labels must be, which a store finds fast, and the other selectors."""
    exact: dict[str, str] = {}
    others = []
    for selector in selectors:
        is_exact = selector.operator is Operator.IN and len(selector.values) == 1
        if not is_exact or exact.setdefault(selector.label, selector.values[0]) != selector.values[0]:
            others.append(selector)
    return exact, tuple(others)
