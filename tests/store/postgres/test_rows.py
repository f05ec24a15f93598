"""What a spec looks like in the database."""

import json

from podling.core.spec import ContainerSpec, Runtime, TaskSpec
from podling.store.postgres.rows import from_json, spec_json
from tests.builders import build_spec

NULLS = ',"handler":null,"payload":null'


def test_only_a_function_has_its_fields_there() -> None:
    plain = build_spec(labels={"a": NULLS})
    assert not {"handler", "payload"} & json.loads(spec_json(plain)).keys()
    assert from_json(TaskSpec, spec_json(plain)) == plain
    function = build_spec(
        runtime=Runtime.PYTHON, containers=(ContainerSpec(),), handler="a", payload='{"b":null}'
    )
    assert from_json(TaskSpec, spec_json(function)) == function
    empty = build_spec(runtime=Runtime.PYTHON, containers=(ContainerSpec(),), handler="a")
    assert from_json(TaskSpec, spec_json(empty)) == empty
