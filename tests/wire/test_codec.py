"""Values as JSON and back: times, names, nesting, and how a fault is told."""

from datetime import datetime, timedelta, timezone

import pytest

from podling.core.errors import InvalidInput
from podling.core.protocol import AttemptKey
from podling.wire.body import load_object
from podling.wire.codec import decode, encode, rfc3339, to_plain


def test_times_have_six_decimals_and_z() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(at) == "2026-01-01T10:00:00.000000Z"
    assert to_plain(at) == rfc3339(at)


def test_sorted_names_make_equal_values_equal_bytes() -> None:
    one, two = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert encode(one) != encode(two)
    assert encode(one, sort_names=True) == encode(two, sort_names=True)


def test_what_has_no_json_form_is_a_bug() -> None:
    with pytest.raises(TypeError):
        to_plain(object())


def test_faults_name_field_and_kind() -> None:
    for body, code, field in [
        ('{"taskId":"t"}', "invalid_field", "attempt"),
        ('{"taskId":"t","attempt":1,"x":1}', "unknown_field", "x"),
        ('{"taskId":"t","attempt":1.5}', "invalid_field", "attempt"),
        ('{"taskId":"t","attempt":true}', "invalid_field", "attempt"),
    ]:
        with pytest.raises(InvalidInput) as refused:
            decode(AttemptKey, body)
        assert (refused.value.code, refused.value.details["field"]) == (code, field)
    with pytest.raises(InvalidInput) as refused:
        decode(AttemptKey, "{")
    assert refused.value.code == "invalid_json"


def test_a_body_is_an_object() -> None:
    assert load_object(b'{"a":[1,{"b":null}]}') == {"a": [1, {"b": None}]}
    for body in (b"", b"[]", b"null", b'{"a":1,"a":1}', b'[{"a":1,"a":1}]', b'{"a":"\\u0000"}', b'{"a":NaN}'):
        with pytest.raises(InvalidInput):
            load_object(body)


@pytest.mark.parametrize("levels, fine", [(64, True), (65, False), (900, False), (5000, False)])
def test_nesting_is_bounded(levels: int, fine: bool) -> None:
    body = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    if fine:
        load_object(body)
        return
    with pytest.raises(InvalidInput, match=r"deeper|depth") as refused:
        load_object(body)
    assert refused.value.code == "invalid_json"
