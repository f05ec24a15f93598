"""The wire forms: what goes out can come in, and what cannot be meant is refused by name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from podling.core import errors
from podling.core.errors import InvalidInput
from podling.core.policy import validate_spec
from podling.core.protocol import (
    OLDEST_PROTOCOL_VERSION,
    PROTOCOL_VERSION,
    Assignment,
    AttemptKey,
    HeldAttempt,
    HeldState,
    Report,
    ReportKind,
    ReportOutcome,
    StopOrder,
)
from podling.core.spec import ContainerSpec, Delivery, Mount, MountType, Port, RetryPolicy, TaskSpec, Ulimit
from podling.core.task import Attempt, AttemptStatus, ContainerState, ContainerStatus, StopReason
from podling.wire import peers
from podling.wire.codec import decode, encode, to_plain
from podling.wire.errors import error_body, error_from, status_of
from podling.wire.nodes import node_view, parse_registration
from podling.wire.session import (
    SUBPROTOCOLS,
    Assign,
    BeatAcknowledged,
    BeatMessage,
    Desired,
    Goodbye,
    Hello,
    Inventory,
    MastersKnown,
    OpenStream,
    Reports,
    ReportsAcknowledged,
    Stop,
    StreamRefused,
    Welcome,
    pack,
    unpack,
    version_of,
)
from podling.wire.tasks import OUTPUT_ONLY, attempt_view, parse_task, task_view
from tests.builders import NOW, build_node, build_task

SPEC = TaskSpec(
    name="job",
    containers=(
        ContainerSpec(
            image="busybox:local",
            command=("sh", "-c"),
            env={"A": "ä\n\u202e"},
            ports=(Port(container_port=80, host_port=8080),),
            mounts=(Mount(type=MountType.VOLUME, source="data", target="/data"),),
            tmpfs={"/scratch": "size=1m"},
            ulimits={"nofile": Ulimit(soft=1)},
            extra_hosts={"db": "10.0.0.1"},
        ),
    ),
    labels={"a": ""},
    run_at=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    retry=RetryPolicy(on=("exit:75",)),
    delivery=Delivery.AT_MOST_ONCE,
)
REPORT = Report(
    sequence=7,
    task_id="t",
    attempt=2,
    kind=ReportKind.ENDED,
    at=NOW,
    exit_code=3,
    error_code="EXIT_CODE",
    stopped_by=StopReason.TIMEOUT,
    containers=(ContainerState(name="main", status=ContainerStatus.TERMINATED, exit_code=3),),
)
KEY = AttemptKey(task_id="t", attempt=1)
ORDER = StopOrder(task_id="t", attempt=1, reason=StopReason.CANCEL, grace_seconds=1.5)
WORK = Assignment(task_id="t", attempt=1, spec=SPEC, environment={"PODLING_TASK_ID": "t"})
HELD = HeldAttempt(task_id="t", attempt=1, state=HeldState.RUNNING)
DESIRED = Desired(assign=(WORK,), stop=(ORDER,), forget=(KEY,))

HELLO = Hello(
    protocol_version=1,
    instance="i",
    hostname="h",
    port=1,
    capacity={"slots": 1},
    allocatable={"slots": 1},
    held=(HELD,),
)
MESSAGES = [
    HELLO,
    BeatMessage(counter=1, unhealthy="no engine"),
    Reports(items=(REPORT,)),
    Inventory(held=(HELD,)),
    StreamRefused(stream_id="s", error="gone"),
    Welcome(session_no=1, cluster_id="c", lease_seconds=12.0, masters=("http://a",), desired=DESIRED),
    DESIRED,
    Assign(items=(WORK,)),
    Stop(items=(ORDER,)),
    BeatAcknowledged(counter=1),
    ReportsAcknowledged(outcomes={7: ReportOutcome.APPLIED}),
    OpenStream(stream_id="s", path="/p", task_id="t", attempt=1, since=NOW, follow=True, stream=2),
    OpenStream(stream_id="s", path="/p", task_id="t", attempt=1, url="http://b"),
    MastersKnown(masters=("http://a", "http://b")),
    Goodbye(reason="bye", reconnect=False),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire(message: Any) -> None:
    assert unpack(pack(message)) == message


@pytest.mark.parametrize(
    "text",
    ["", "hello", "nonsense\n{}", "beat\n", "beat\n[]", "beat\n{}", 'beat\n{"counter":"1"}'],
)
def test_a_broken_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        unpack(text)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_fields_of_a_newer_version_are_left_out(message: Any) -> None:
    name, _, body = pack(message).partition("\n")
    newer = orjson.dumps(_with_more(orjson.loads(body))).decode()
    assert unpack(f"{name}\n{newer}") == message


def _with_more(plain: Any) -> Any:
    """Add an unknown field to every object but those that are maps of names."""
    if isinstance(plain, list):
        return [_with_more(item) for item in plain]
    if not isinstance(plain, dict) or not plain or plain.keys() <= _MAPS:
        return plain
    return {name: item if name in _MAPS else _with_more(item) for name, item in plain.items()} | {"newer": 1}


_MAPS = {"capacity", "allocatable", "labels", "env", "environment", "outcomes", "requests", "limits"}
_MAPS |= {"tmpfs", "nodeSelector", "ulimits", "extraHosts"}


def test_the_oldest_protocol_is_sent_no_field_that_it_does_not_know() -> None:
    """It refuses those, so they must not even be null."""
    same = OpenStream(stream_id="s", path="/p", task_id="t", attempt=1)
    names = {"streamId", "path", "taskId", "attempt", "container", "tail", "since", "follow", "stream"}
    assert orjson.loads(pack(same).partition("\n")[2]).keys() <= names
    for beats_only in (False, True):
        hello = replace(HELLO, beats_only=beats_only)
        assert ("beatsOnly" in orjson.loads(pack(hello).partition("\n")[2])) == beats_only
        assert unpack(pack(hello)) == hello
    assert version_of(None) == version_of("podling.99") == OLDEST_PROTOCOL_VERSION
    assert version_of(SUBPROTOCOLS[0]) == PROTOCOL_VERSION


def test_only_a_function_has_its_fields_in_what_a_worker_is_sent() -> None:
    plain = orjson.loads(pack(Assign(items=(WORK,))).partition("\n")[2])["items"][0]["spec"]
    assert not {"handler", "payload", "alerts", "statement", "parameters", "database"} & plain.keys()
    function = replace(
        WORK, spec=TaskSpec(name="f", containers=(ContainerSpec(),), handler="a", payload='{"b":null}')
    )
    assert unpack(pack(Assign(items=(function,)))) == Assign(items=(function,))


def test_what_is_as_it_is_by_default_is_not_sent() -> None:
    """An assignment has a hundred fields, of which a plain task has given three."""
    plain = Assignment(task_id="t", attempt=1, spec=TaskSpec(name="f", containers=(ContainerSpec(),)))
    name, _, body = pack(Assign(items=(plain,))).partition("\n")
    item = {"taskId": "t", "attempt": 1, "spec": {"name": "f", "containers": [{}]}}
    assert orjson.loads(body) == {"items": [item]}
    assert unpack(f"{name}\n{body}") == Assign(items=(plain,))


def test_a_payload_is_kept_as_it_was_sent() -> None:
    sent = {"b": [1e22, None, {"z": "\u2028"}], "a": 2**63}
    spec = parse_task({"name": "f", "runtime": "python", "handler": "a", "payload": sent})
    assert (spec.handler, spec.max_attempts) == ("a", 25)
    assert task_view(build_task(spec=spec))["payload"] == sent
    assert parse_task({"name": "f", "runtime": "python", "maxAttempts": 3}).max_attempts == 3
    assert task_view(build_task())["payload"] is None


def test_a_statement_and_its_parameters_are_kept_as_they_were_sent() -> None:
    sent = {"statement": "SELECT $1", "parameters": [None, {"b": None, "a": 1.5}], "database": "shop"}
    spec = parse_task({"name": "s", "runtime": "sql", **sent})
    assert spec.max_attempts == 1
    shown = task_view(build_task(spec=spec))
    assert {name: shown[name] for name in sent} == sent
    assert task_view(build_task())["parameters"] is None
    given = replace(WORK, spec=spec)
    assert unpack(pack(Assign(items=(given,)))) == Assign(items=(given,))
    for wrong in ({"$1": 1}, "x", [1] * 1001):
        with pytest.raises(InvalidInput) as caught:
            parse_task({"name": "s", "runtime": "sql", "statement": "SELECT 1", "parameters": wrong})
        assert caught.value.details["field"] == "parameters"


def test_what_masters_leave_for_each_other_survives_too() -> None:
    request = OpenStream(stream_id="s", path="/p", task_id="t", attempt=1, url="http://b")
    for message in (
        peers.StreamWanted(asking="m1", node_id="n", request=request),
        peers.StreamDenied(stream_id="s", error="gone"),
    ):
        assert peers.unpack(peers.pack(message)) == message
        newer = peers.pack(message).replace("{", '{"newer":1,', 1)
        assert peers.unpack(newer) == message
    for broken in ("", "streamWanted\n{}", "streamDenied", "later\n{}"):
        with pytest.raises(InvalidInput):
            peers.unpack(broken)


def _reports(*items: Any) -> Reports:
    message = unpack("reports\n" + orjson.dumps({"items": items}).decode())
    assert isinstance(message, Reports)
    return message


def test_reports_are_read_one_by_one() -> None:
    good = to_plain(REPORT)
    read = _reports(good | {"sequence": 1, "exitCode": 256}, good, good | {"sequence": 3, "kind": "x"})
    assert (read.items, read.invalid) == ((REPORT,), (1, 3))


@pytest.mark.parametrize("item", [None, [], {}, {"sequence": "1"}, {"sequence": True}])
def test_a_report_without_a_number_cannot_be_answered(item: Any) -> None:
    with pytest.raises(InvalidInput):
        _reports(item)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"items":{}}', "{"])
def test_what_is_no_list_of_reports_is_refused(body: str) -> None:
    with pytest.raises(InvalidInput):
        unpack(f"reports\n{body}")


def test_texts_of_a_report_are_cut_and_free_of_nul() -> None:
    text = "\0" + "x" * 10_000
    container = to_plain(ContainerState(name="main", error=text))
    read = _reports(to_plain(REPORT) | {"error": text, "containers": [container]}).items[0]
    assert read.error == read.containers[0].error == "\ufffd" + "x" * 4095


@pytest.mark.parametrize(
    "sent, read",
    [("\0", "\ufffd"), ("\\u0000", "\\u0000"), ("\\\0", "\\\ufffd"), ("\\\\u0000\0", "\\\\u0000\ufffd")],
)
def test_only_real_nuls_are_replaced(sent: str, read: str) -> None:
    message = unpack(pack(StreamRefused(stream_id="s", error=sent)))
    assert message == StreamRefused(stream_id="s", error=read)


# Tasks


def test_what_is_read_of_a_task_can_be_submitted_again() -> None:
    task = build_task(spec=validate_spec(SPEC), run_at=SPEC.run_at)
    plain = orjson.loads(encode(task_view(task, "no node is online")))
    assert encode(parse_task(plain)) == encode(SPEC)


def test_a_task_shows_the_fields_of_the_contract() -> None:
    view = task_view(build_task())
    assert set(view) >= {
        *("taskId", "name", "image", "env", "status", "nodeId", "containerId", "createdAt", "startedAt"),
        *("finishedAt", "error", "livenessProbe", "readinessProbe", "restartPolicy", "healthStatus"),
        *("resources", "ports", "attempt", "exitCode", "errorCode", "deadLetterReason", "schedulingError"),
        *("replayOf", "progress", "result", "restartCount"),
    }
    assert set(view) >= OUTPUT_ONLY - {"replayOf"}
    assert "kind" not in view and "containers" not in view


def test_every_output_field_is_ignored_on_submit() -> None:
    plain = {"name": "a", "image": "b"} | {field: object() for field in OUTPUT_ONLY}
    assert parse_task(plain).name == "a"


def test_an_attempt_shows_the_fields_of_the_contract() -> None:
    row = Attempt(task_id="t", attempt=1, node_id="n", status=AttemptStatus.LOST, scheduled_at=NOW)
    assert set(attempt_view(row)) >= {
        *("attempt", "nodeId", "containerId", "status", "startedAt", "finishedAt", "exitCode"),
        *("errorCode", "error", "imageDigest"),
    }


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"env": {"A": 1}}, "env.A"),
        ({"ports": [{"containerPort": "x"}]}, "ports.0.containerPort"),
        ({"retry": {"factor": "x"}}, "retry.factor"),
        ({"resources": {"limits": {"cpu": "much"}}}, "resources.limits.cpu"),
        ({"name": 5}, "name"),
    ],
)
def test_faults_are_named_as_the_outside_writes_them(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_task({"name": "a", "image": "b"} | fields)
    assert refused.value.details == {"field": field}
    assert refused.value.message.startswith(f"{field}: ")


def test_nulls_inside_free_form_objects_are_kept_and_refused() -> None:
    with pytest.raises(InvalidInput):
        parse_task({"name": "a", "image": "b", "env": {"A": None}})
    assert parse_task({"name": "a", "image": "b", "retry": {"factor": None}}).retry.factor == 2.0


def test_a_key_in_header_and_field() -> None:
    body = {"name": "a", "image": "b"}
    assert parse_task(body, "k").idempotency_key == "k"
    assert parse_task(body | {"idempotencyKey": "k"}, "k").idempotency_key == "k"
    assert parse_task(body | {"idempotencyKey": "k"}).idempotency_key == "k"
    with pytest.raises(InvalidInput):
        parse_task(body | {"idempotencyKey": "k"}, "other")


def test_the_zone_of_a_time_does_not_change_it() -> None:
    assert decode(TaskSpec, encode(SPEC)).run_at == datetime(2026, 1, 1, 10, tzinfo=UTC)


# Nodes


def test_a_node_shows_the_fields_of_the_contract() -> None:
    view = node_view(build_node(), {"cpu": 500, "slots": 1}, 1)
    assert set(view) >= {
        *("nodeId", "hostname", "port", "status", "capacity", "runningTasks", "lastHeartbeat", "resources")
    }
    assert view["resources"]["used"] == {"cpu": 500, "memory": 0}
    assert (view["capacity"], view["runningTasks"], view["status"]) == (10, 1, "online")
    assert parse_registration(view | {"capacity": 4}).capacity == {"slots": 4}


def test_a_registration_needs_some_capacity() -> None:
    with pytest.raises(InvalidInput, match="capacity"):
        parse_registration({"hostname": "a", "port": 1})


# Errors


@pytest.mark.parametrize(
    "kind, status",
    [
        (errors.InvalidInput, 400),
        (errors.TooLarge, 413),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.PolicyDenied, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.IllegalTransition, 409),
        (errors.StaleAttempt, 409),
        (errors.IdempotencyMismatch, 409),
        (errors.StaleSession, 409),
        (errors.TooManyRequests, 429),
        (errors.Unavailable, 503),
        (errors.StoreUnavailable, 503),
        (errors.StaleEpoch, 503),
        (errors.DeadlineExceeded, 503),
        (errors.PodlingError, 500),
        (errors.RuntimeFailure, 500),
    ],
)
def test_errors_have_one_status_each_and_come_back_alike(
    kind: type[errors.PodlingError], status: int
) -> None:
    error = kind("a sentence", details={"field": "a"})
    assert status_of(error) == status
    back = error_from(status, error_body(error))
    assert (back.message, back.code, back.details) == (error.message, error.code, error.details)
    assert status_of(back) == status and isinstance(error, type(back))


def test_an_answer_that_is_no_error_of_ours_still_makes_a_sentence() -> None:
    assert error_from(502, {}).message == "the master answered with status 502"
    assert error_from(404, {"details": "odd"}).details == {}
