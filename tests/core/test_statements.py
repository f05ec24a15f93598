"""SQL tasks: what they may be, where they go, and what is made of those whose worker has ended."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.agent import AgentState, step
from podling.core.agent_events import JournalRow, Moment, NotedContainer, Notes, Restored
from podling.core.agent_restore import LEFT_SENTENCE
from podling.core.errors import InvalidInput, PolicyDenied
from podling.core.explain import explain
from podling.core.node import Node
from podling.core.permissions import Allowed, AllowedImages, AllowedUsers, Policy
from podling.core.placement import requirement_of, shape_of
from podling.core.policy import validate_spec
from podling.core.protocol import AttemptKey
from podling.core.retry import ADVICE, ErrorCode, may_retry
from podling.core.spec import (
    ContainerSpec,
    Delivery,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskKind,
    TaskSpec,
)
from podling.core.statements import MOST_BYTES, first_word
from tests.builders import NOW, build_spec, build_task
from tests.core.agent_model import assignment
from tests.core.clusters import node, on, view_of

KEY = AttemptKey(task_id="t1", attempt=1)


def statement(container: ContainerSpec | None = None, **fields: Any) -> TaskSpec:
    given = {"runtime": Runtime.SQL, "statement": "SELECT 1"} | fields
    return build_spec(containers=(container or ContainerSpec(),), **given)


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("statement", statement(statement=None)),
        ("statement", statement(statement="")),
        ("statement", statement(statement=" ;\n ; ")),
        ("statement", statement(statement="-- nothing\n/* at /* all */ */")),
        ("statement", statement(statement="SELECT '\0'")),
        ("statement", statement(statement="SELECT '\ud800'")),
        ("statement", statement(statement="SELECT '" + "x" * MOST_BYTES + "'")),
        ("statement", statement(statement="SELECT '" + "ü" * (MOST_BYTES // 2) + "'")),
        ("statement", statement(statement="SELECT '" + "x" * 10_000_000 + "'")),
        ("statement", statement(statement="/* /* */ */; copy t FROM\nstdin")),
        ("statement", statement(statement="COPY (SELECT 1) TO STDOUT")),
        ("statement", statement(statement="BEGIN")),
        ("statement", statement(statement=" -- so\n commit")),
        ("statement", build_spec(statement="SELECT 1")),
        ("parameters", build_spec(parameters="[]")),
        ("parameters", statement(parameters='["\\u0000"]')),
        ("parameters", statement(parameters='["' + "x" * MOST_BYTES + '"]')),
        ("database", build_spec(database="shop")),
        ("database", statement(database="")),
        ("database", statement(database="shop;drop")),
        ("database", statement(database="postgres://user:secret@host/shop")),
        ("database", statement(database="a" * 64)),
        ("handler", statement(handler="email.send")),
        ("payload", statement(payload="1")),
        ("image", statement(ContainerSpec(image="box"))),
        ("env", statement(ContainerSpec(env={"A": "b"}))),
        ("user", statement(ContainerSpec(user="postgres"))),
        ("network", statement(network="none")),
        ("restartPolicy", statement(restart_policy=RestartPolicy.ALWAYS)),
        ("runtime", statement(kind=TaskKind.POD)),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(field: str, spec: TaskSpec) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_spec(spec)
    assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    "text",
    ["COPY t FROM '/tmp/t.csv'", "INSERT INTO copy VALUES ('stdin')", "(SELECT 1)", "SELECT ';'", "VACUUM"],
)
def test_what_a_server_can_do_by_itself_may_be_run(text: str) -> None:
    spec = statement(statement=text, parameters='["\\\\u0000", null]', database="shop.reader-2")
    assert validate_spec(spec) == spec


def test_the_first_word_is_found_behind_comments() -> None:
    assert first_word("/* a /* b */ SELECT */ -- c\n ;;\tinsert into x") == "INSERT"
    assert first_word("/* open") == first_word("'text'") == ""


def test_a_statement_is_the_operators_to_allow_as_a_runtime_only() -> None:
    policy = Policy(users=AllowedUsers(allow=("1000",)), images=AllowedImages(allow=("box",)))
    assert validate_spec(statement(), policy) == statement()
    with pytest.raises(PolicyDenied) as caught:
        validate_spec(statement(), Policy(runtimes=Allowed(allow=("docker",))))
    assert caught.value.details["rule"] == "runtimes.allow"


def test_it_takes_one_place_of_its_database() -> None:
    assert requirement_of(statement()).requests == {"slots": 1, "database/default": 1}
    assert requirement_of(statement(database="shop")).requests == {"slots": 1, "database/shop": 1}
    assert len({shape_of(statement()), shape_of(statement(database="shop")), shape_of(build_spec())}) == 3
    assert shape_of(statement(statement="SELECT 2")) == shape_of(statement())


def there(node_id: str, **places: int) -> Node:
    """Return a node with so many places for each database."""
    amounts = {"cpu": 4000, "slots": 10} | {f"database/{name}": count for name, count in places.items()}
    return node(node_id, capacity=amounts, allocatable=amounts, runtimes=("sql",))


def test_explain_tells_which_node_lacks_the_database_and_which_is_busy() -> None:
    spec = statement(database="nobody")
    waiting = build_task(spec=spec, shape=shape_of(spec))
    told = explain(waiting, [], view_of(there("has", shop=1), there("stock", stock=4), node("box")), 0, NOW)
    assert "2 database nobody missing" in told.summary
    assert {reason.code for reason in told.reasons} == {"database_missing", "runtime_missing"}
    lacks = {one.node_id: one.lacks for one in told.nodes}
    assert lacks["has"] == lacks["stock"] == ("it has no database nobody",)
    assert told.advice == (
        "No node has the database nobody: start a worker with --runtime sql --database nobody=URL."
    )
    spec = statement(database="shop")
    task = build_task(spec=spec, shape=shape_of(spec))
    told = explain(task, [], view_of(there("has", shop=1), on(task, "has")), 0, NOW)
    assert "1 insufficient database/shop" in told.summary
    assert told.advice is not None and "--database-connections" in told.advice


def test_explain_says_what_the_default_database_is() -> None:
    spec = statement()
    told = explain(build_task(spec=spec, shape=shape_of(spec)), [], view_of(there("has", shop=1)), 0, NOW)
    assert told.advice is not None and "DATABASE_URL" in told.advice


@pytest.mark.parametrize("delivery", Delivery)
def test_what_ran_in_a_worker_that_ended_is_told_and_never_run_again_in_silence(delivery: Delivery) -> None:
    given = replace(assignment(), spec=statement(delivery=delivery))
    row = JournalRow(
        key=KEY, assignment=given, notes=Notes(containers=(NotedContainer(name="main", container_id="c"),))
    )
    before = AgentState(runtimes=frozenset({"sql"}))
    state, _ = step(before, (Restored(rows=(row,), seen=()),), Moment(monotonic=0.0, wall=NOW))
    final = state.attempts[KEY].final
    assert final is not None
    assert (final.error_code, final.error, final.exit_code) == (ErrorCode.EXTERNAL, LEFT_SENTENCE, None)
    assert not final.never_started


def test_what_a_database_says_no_to_is_not_tried_again() -> None:
    policy = RetryPolicy()
    assert not may_retry(policy, ErrorCode.BAD_STATEMENT, None)
    assert not may_retry(policy, ErrorCode.ACCESS_DENIED, None)
    assert may_retry(policy, ErrorCode.SERIALIZATION, None)
    assert set(ADVICE) == set(ErrorCode)
