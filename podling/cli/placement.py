"""The flags that say on which node a task may run, and on which it should."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from podling.cli.flags import choice, given_only
from podling.core.errors import InvalidInput
from podling.core.spec import Operator, Strategy

_WEIGHT = re.compile(r"-?[0-9]{1,3}", re.ASCII)
_STRATEGY = {str(kind): kind for kind in Strategy}


def placement(
    *,
    selector: Mapping[str, str],
    constraints: Sequence[str],
    affinity: Sequence[str],
    spread: str | None,
    strategy: str | None,
) -> dict[str, Any]:
    """Return `placement` of a submit, with nothing in it that was not asked for. Raises InvalidInput."""
    return given_only(
        {
            "nodeSelector": dict(selector),
            "constraints": [_rule("--constraint", text) for text in constraints],
            "affinity": [_wish(text) for text in affinity],
            "spread": spread,
            "strategy": choice("--strategy", strategy, _STRATEGY),
        }
    )


def _wish(text: str) -> dict[str, Any]:
    """Read a rule with its weight after the last colon; without one the master's default holds."""
    rule, colon, weight = text.rpartition(":")
    if not colon:
        return _rule("--affinity", text)
    if not _WEIGHT.fullmatch(weight):
        raise InvalidInput(
            f"--affinity: {text!r} is not LABEL=VALUE or LABEL=VALUE:WEIGHT, such as zone=a:50"
        )
    return _rule("--affinity", rule) | {"weight": int(weight)}


def _rule(option: str, text: str) -> dict[str, Any]:
    label, equals, values = text.partition("=")
    if not equals:
        operator = Operator.DOES_NOT_EXIST if text.startswith("!") else Operator.EXISTS
        return _condition(option, text, text.removeprefix("!"), operator, [])
    operator = Operator.NOT_IN if label.endswith("!") else Operator.IN
    named = values.removeprefix("=").split(",")
    return _condition(option, text, label.removesuffix("!"), operator, named)


def _condition(option: str, text: str, label: str, operator: Operator, values: list[str]) -> dict[str, Any]:
    if not label or "" in values:
        raise InvalidInput(f"{option}: {text!r} is none of K=A,B, K!=A,B, K and !K")
    return {"label": label, "operator": str(operator), "values": values}
