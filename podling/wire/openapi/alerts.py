"""Alerts, in the contract."""

from podling.core.alert_policy import MOST_PER_MINUTE, MOST_RECIPIENTS, MOST_RULES
from podling.core.alerts import AlertRule
from podling.wire.alerts import OUTPUT_ONLY
from podling.wire.openapi.nodes import MESSAGE
from podling.wire.openapi.operation import Operation
from podling.wire.openapi.schema import (
    BOOLEAN,
    INTEGER,
    STRING,
    TIME,
    Schema,
    array,
    closed,
    components_of,
    nullable,
    properties_of,
    reference,
)

TAG = "alerts"
ABOUT = "Who is told of what happens."

_RULE = reference("Alert")


def _fields() -> dict[str, Schema]:
    return properties_of(AlertRule) | {
        "mail": array(STRING) | {"maxItems": MOST_RECIPIENTS},
        "maxPerMinute": INTEGER | {"minimum": 1, "maximum": MOST_PER_MINUTE},
    }


def _rule(*, with_secret: bool) -> Schema:
    properties = {name: schema for name, schema in _fields().items() if name != "secret"}
    more = {
        "hasSecret": BOOLEAN,
        "pending": INTEGER,
        "lastAt": nullable(TIME),
        "lastError": nullable(STRING),
    }
    if not with_secret:
        return closed("A rule, and how it fares.", properties | more)
    about = "The rule; with `secret` if it was made here, and never again."
    return closed(about, properties | more | {"secret": STRING}, optional=["secret"])


def _wish() -> Schema:
    ignored = {name: {"description": "Ignored: output only."} for name in sorted(OUTPUT_ONLY)}
    properties = ignored | _fields()
    return closed("One of `http`, `mail` and `command` says where to.", properties, optional=list(properties))


SCHEMAS = components_of(AlertRule) | {
    "Alert": _rule(with_secret=False),
    "AlertMade": _rule(with_secret=True),
    "AlertRule": _wish(),
    "AlertTried": closed("What came of a sample.", {"name": STRING, "delivered": BOOLEAN, "answer": STRING}),
}

_BASE = "/api/v1/alerts"
_ONE = f"{_BASE}/{{id}}"
OPERATIONS = {
    f"GET {_BASE}": Operation(summary="List the rules of alerts", tag=TAG, answers={200: array(_RULE)}),
    f"GET {_ONE}": Operation(summary="Read a rule", tag=TAG, answers={200: _RULE}),
    f"PUT {_ONE}": Operation(
        summary="Make or replace a rule",
        tag=TAG,
        description="Changes after that are told. Without `secret`, what signs its calls stays, or is made "
        f"if `http` leads to another host than before. {MOST_RULES} at most.",
        body=reference("AlertRule"),
        example={"on": ["failed"], "queue": "default", "mail": ["me@example.org"]},
        answers={200: reference("AlertMade"), 201: reference("AlertMade")},
    ),
    f"DELETE {_ONE}": Operation(summary="Remove a rule", tag=TAG, answers={200: MESSAGE}),
    f"POST {_ONE}/test": Operation(
        summary="Send a sample now",
        tag=TAG,
        description="200 whatever came of it: `delivered` says so, `answer` what the receiver said.",
        answers={200: reference("AlertTried")},
    ),
}
