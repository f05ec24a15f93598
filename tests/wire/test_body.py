"""What a body may cost: masses are refused before much is made of them."""

import json
import time

import pytest

from podling.core.errors import InvalidInput
from podling.core.spec import TaskSpec
from podling.wire.body import MOST_NAMES, MOST_VALUES, load_object
from podling.wire.codec import decode


def test_as_many_values_and_names_as_are_allowed_are_read() -> None:
    assert len(load_object(b'{"a":[' + b",".join([b"1"] * (MOST_VALUES - 4)) + b"]}")["a"]) == MOST_VALUES - 4
    names = {str(number): number for number in range(MOST_NAMES)}
    assert load_object(json.dumps(names).encode()) == names


@pytest.mark.parametrize("item", [b"1", b'""', b'"a,b"', b"[]", b"{}"])
def test_one_value_more_is_refused(item: bytes) -> None:
    with pytest.raises(InvalidInput, match="more than 200000 values"):
        load_object(b'{"a":[' + b",".join([item] * MOST_VALUES) + b"]}")


@pytest.mark.parametrize("text", ["," * MOST_VALUES, '\\",[' * 100_000, "\\\\" * 100_000 + "[{,"])
def test_what_stands_in_a_text_is_not_counted(text: str) -> None:
    assert load_object(json.dumps({"a": text, "b": [text]}).encode()) == {"a": text, "b": [text]}


def test_of_many_faults_in_a_list_the_first_is_told_and_the_others_cost_nothing() -> None:
    body = {"name": "a", "kind": "task", "containers": [{"image": "b", "args": [1] * 190_000}]}
    began = time.process_time()
    with pytest.raises(InvalidInput) as refused:
        decode(TaskSpec, json.dumps(body))
    assert refused.value.details == {"field": "containers.0.args.0"}
    assert time.process_time() - began < 0.5, "all of them were looked for"


@pytest.mark.parametrize("body", ['{"a":1,"a":2}', '{"a":":","a":2}', '{"b":[{"a":1},{"a":1,"a":":"}]}'])
def test_a_name_that_is_given_twice_is_told_whatever_colons_there_are(body: str) -> None:
    with pytest.raises(InvalidInput, match="a: is given twice"):
        load_object(body.encode())


def test_colons_in_texts_and_names_are_nobodys_second_name() -> None:
    given = {"a:b": "c:d", "e": [{"f": ":::"}, {"f": {}}]}
    assert load_object(json.dumps(given).encode()) == given
