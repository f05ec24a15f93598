"""Function tasks: what they may be, where they go, and what is made of those whose worker has ended."""

from dataclasses import replace
from typing import Any

import pytest

from podling.core.agent import AgentState, step
from podling.core.agent_events import JournalRow, Moment, NotedContainer, Notes, Restored
from podling.core.agent_restore import LEFT_SENTENCE
from podling.core.errors import InvalidInput, PolicyDenied
from podling.core.explain import explain
from podling.core.node import Node
from podling.core.permissions import Allowed, AllowedUsers, Policy
from podling.core.placement import requirement_of, shape_of
from podling.core.policy import validate_spec
from podling.core.protocol import AttemptKey, HeldState
from podling.core.retry import ADVICE, ErrorCode, may_retry
from podling.core.spec import (
    ContainerSpec,
    Delivery,
    ResourceRequirements,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskKind,
    TaskSpec,
)
from podling.handlers import NOT_RETRIED, RETRIED
from tests.builders import NOW, build_spec, build_task
from tests.core.agent_model import assignment
from tests.core.clusters import node, on, view_of

KEY = AttemptKey(task_id="t1", attempt=1)


def function(container: ContainerSpec | None = None, **fields: Any) -> TaskSpec:
    given = {"runtime": Runtime.PYTHON, "handler": "email.send"} | fields
    return build_spec(containers=(container or ContainerSpec(),), **given)


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("handler", function(handler=None)),
        ("handler", function(handler="os:system")),
        ("handler", function(handler="a" * 64)),
        ("handler", function(handler="")),
        ("handler", build_spec(handler="email.send")),
        ("payload", build_spec(payload="1")),
        ("image", function(ContainerSpec(image="box"))),
        ("command", function(ContainerSpec(command=("x",)))),
        ("env", function(ContainerSpec(env={"A": "b"}))),
        ("user", function(ContainerSpec(user="1000"))),
        ("readOnlyRoot", function(ContainerSpec(read_only_root=True))),
        ("resources.limits", function(ContainerSpec(resources=ResourceRequirements(limits={"cpu": 1})))),
        ("network", function(network="none")),
        ("restartPolicy", function(restart_policy=RestartPolicy.ALWAYS)),
        ("runtime", function(kind=TaskKind.POD)),
    ],
)
def test_what_does_not_fit_a_function_is_refused_by_name(field: str, spec: TaskSpec) -> None:
    with pytest.raises(InvalidInput) as refusal:
        validate_spec(spec)
    assert refusal.value.details["field"] == field


def test_what_fits_is_accepted_and_no_rule_about_containers_is_asked() -> None:
    resources = ResourceRequirements(requests={"cpu": 100})
    spec = function(ContainerSpec(resources=resources, stop_grace_seconds=1), payload='{"to":1}')
    nothing = Allowed(allow=())
    policy = replace(Policy(), networks=nothing, users=AllowedUsers(allow=(), root=False))
    assert validate_spec(spec, policy) == spec
    with pytest.raises(PolicyDenied):
        validate_spec(spec, replace(policy, runtimes=nothing))


def test_a_function_takes_a_slot_and_a_place_of_its_handler() -> None:
    assert requirement_of(function()).requests == {"slots": 1, "handler/email.send": 1}
    assert shape_of(function()) != shape_of(function(handler="other"))


def offering(node_id: str, places: int) -> Node:
    """Return a node with so many places for `email.send`; with none, it does not have the handler."""
    amounts = {"cpu": 4000, "slots": 10} | ({"handler/email.send": places} if places else {})
    return node(node_id, capacity=amounts, allocatable=amounts, runtimes=("python",))


def test_explain_tells_who_lacks_the_handler_from_who_is_busy() -> None:
    spec = function()
    task = build_task(spec=spec, shape=shape_of(spec))
    nowhere = view_of(offering("node-1", 0), node("node-2"))
    told = explain(task, [], nowhere, 0, NOW)
    assert "1 handler email.send missing" in told.summary
    assert {reason.code for reason in told.reasons} == {"handler_missing", "runtime_missing"}
    assert told.advice is not None
    assert told.advice.startswith("No node has the handler email.send: start a worker with --handlers")

    busy = view_of(offering("node-1", 1), on(build_task(spec=spec, shape=shape_of(spec)), "node-1"))
    told = explain(task, [], busy, 0, NOW)
    assert "1 insufficient handler/email.send" in told.summary
    assert told.nodes[0].lacks == ("insufficient handler/email.send: 1 wanted, 0 of 1 free",)
    assert told.advice is not None and "raise its concurrency" in told.advice


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("is_noted", [True, False])
def test_what_ran_in_a_worker_that_ended_is_told_and_never_run_again_in_silence(
    delivery: Delivery, is_noted: bool
) -> None:
    given = replace(assignment(), spec=function(delivery=delivery))
    notes = Notes(containers=(NotedContainer(name="main", container_id="c"),) if is_noted else ())
    row = JournalRow(key=KEY, assignment=given, notes=notes)
    before = AgentState(runtimes=frozenset({"python"}))
    state, _ = step(before, (Restored(rows=(row,), seen=()),), Moment(monotonic=0.0, wall=NOW))
    held = state.attempts[KEY]
    if delivery is Delivery.AT_MOST_ONCE and not is_noted:
        assert held.state is HeldState.STARTING  # a start has its note on disk first, so there was none
        return
    assert held.final is not None
    assert (held.final.error_code, held.final.error) == (ErrorCode.EXTERNAL, LEFT_SENTENCE)
    assert (held.final.exit_code, held.final.never_started) == (None, False)


@pytest.mark.parametrize("code", [*RETRIED, ErrorCode.PANIC])
def test_what_may_pass_is_tried_again(code: ErrorCode) -> None:
    assert may_retry(RetryPolicy(), code, None)
    assert ADVICE[code]


@pytest.mark.parametrize("code", NOT_RETRIED)
def test_what_will_not_pass_is_not_tried_again(code: ErrorCode) -> None:
    assert not may_retry(RetryPolicy(), code, None)
    assert not may_retry(RetryPolicy(on=(code,)), code, None)
    assert ADVICE[code]
