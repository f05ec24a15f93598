"""Rules of alerts, and a task's own wishes, on the wire."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from podling.core.alert_policy import shown_url
from podling.core.alerts import AlertRule
from podling.core.errors import InvalidInput
from podling.core.value import camel_case
from podling.wire.body import refuse_unknown
from podling.wire.codec import decode, to_plain

_FIELDS = frozenset(camel_case(field.name) for field in fields(AlertRule))
OUTPUT_ONLY = frozenset({"hasSecret", "pending", "lastAt", "lastError"})


def parse_rule(name: str, plain: Mapping[str, Any]) -> AlertRule:
    """Return the rule of a PUT, with defaults. Raises InvalidInput by field.

    What the fields may hold is decided by `podling.core.alert_policy`, not here.
    """
    given = {key: item for key, item in plain.items() if item is not None and key not in OUTPUT_ONLY}
    refuse_unknown(given, _FIELDS)
    if given.setdefault("name", name) != name:
        raise InvalidInput.field("name", "differs from the name in the path")
    return decode(AlertRule, orjson.dumps(given))


def rule_view(rule: AlertRule, *, with_url: bool) -> dict[str, Any]:
    """Return what is read of a rule: never its secret, and of its URL the host alone unless `with_url`.

    The path of a URL is often all that its receiver asks for.
    """
    view: dict[str, Any] = to_plain(rule)
    view["hasSecret"] = view.pop("secret") is not None
    if rule.http is not None and not with_url:
        view["http"] = shown_url(rule.http)
    return view


def parse_wishes(plain: Any) -> Any:
    """Read the short forms of a submit's `alerts`: a rule's name, `mailto:…`, `https://…`."""
    if not isinstance(plain, list):
        return plain
    return [_wish(item) if isinstance(item, str) else item for item in plain]


def _wish(text: str) -> dict[str, Any]:
    scheme, _, rest = text.partition(":")
    match scheme.lower():
        case "mailto":
            return {"mail": rest.split(",")}
        case "http" | "https":
            return {"http": text}
        case _:
            return {"rule": text}
