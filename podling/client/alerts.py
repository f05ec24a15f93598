"""The calls about alerts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podling.client.call import Call, JsonObject, get, json_array, json_object, path_of, post


def listing() -> Call[list[JsonObject]]:
    return get(path_of("alerts"), json_array)


def read(name: str) -> Call[JsonObject]:
    return get(path_of("alerts", name), json_object)


def save(name: str, rule: Mapping[str, Any]) -> Call[JsonObject]:
    """Make the rule, or replace it. The answer has a secret if one was made, and never again."""
    call = post(path_of("alerts", name), json_object, dict(rule))
    return replace(call, request=replace(call.request, method="PUT"))


def remove(name: str) -> Call[JsonObject]:
    call = post(path_of("alerts", name), json_object)
    return replace(call, request=replace(call.request, method="DELETE"))


def test(name: str) -> Call[JsonObject]:
    """Send a sample now; the answer tells whether it was delivered, and what the receiver said."""
    return post(path_of("alerts", name, "test"), json_object)
