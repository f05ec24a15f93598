"""What a spec looks like in the database."""

import json

from podling.core.spec import ArrayPlace, ContainerSpec, Dependency, Runtime, TaskSpec
from podling.store.postgres.rows import compact_json, detail_of, from_json
from tests.builders import NOW, build_spec, build_task

NULLS = ',"handler":null,"payload":null'


def test_only_functions_and_statements_have_their_fields_there() -> None:
    plain = build_spec(labels={"a": NULLS})
    its = {"handler", "payload", "statement", "parameters", "database"}
    assert not its & json.loads(compact_json(plain)).keys()
    assert from_json(TaskSpec, compact_json(plain)) == plain
    function = build_spec(
        runtime=Runtime.PYTHON, containers=(ContainerSpec(),), handler="a", payload='{"b":null}'
    )
    assert from_json(TaskSpec, compact_json(function)) == function
    empty = build_spec(runtime=Runtime.PYTHON, containers=(ContainerSpec(),), handler="a")
    assert from_json(TaskSpec, compact_json(empty)) == empty
    assert its & json.loads(compact_json(function)).keys() == {"handler", "payload"}
    statement = build_spec(
        runtime=Runtime.SQL, containers=(ContainerSpec(),), statement=NULLS, parameters="[null]"
    )
    assert from_json(TaskSpec, compact_json(statement)) == statement
    assert its & json.loads(compact_json(statement)).keys() == {"statement", "parameters"}


def test_only_a_statement_that_is_done_says_when() -> None:
    assert detail_of(build_task()) is None
    assert "done_at" not in (detail_of(build_task(failures=1)) or {})
    assert (detail_of(build_task(done_at=NOW)) or {})["done_at"] == NOW


def test_what_only_tasks_of_graphs_have_is_left_out_of_all_others() -> None:
    plain = build_spec(labels={"a": '","depends_on":[],"array":null'})
    assert not {"depends_on", "array"} & json.loads(compact_json(plain)).keys()
    assert from_json(TaskSpec, compact_json(plain)) == plain
    place = ArrayPlace(index=1, count=2)
    for fields in ({"depends_on": (Dependency(task_id="a"),)}, {"array": place}):
        spec = build_spec(**fields)
        assert from_json(TaskSpec, compact_json(spec)) == spec
