"""The programs that both clients perform, without any network: effects in, outcomes back."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from podling.client import program, tasks
from podling.client.call import Call, Request, Response, T, path_of, query_of, target_of
from podling.client.program import NEXT_MASTER_SECONDS, ConnectionLost, Link, Outcome, Program, Send, Sleep
from podling.core.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    PodlingError,
    Unavailable,
)

REFUSED = ConnectionLost(address="", reason="connection refused", sent=False)
BROKEN = ConnectionLost(address="", reason="reset", sent=True)


class Performer:
    """Plays the client: answers each request with the next outcome; time passes only in sleeps."""

    def __init__(self, *outcomes: Outcome, addresses: Sequence[str] = ("http://a",)) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.sent: list[Send] = []
        self._outcomes = list(outcomes)
        self.link = Link(addresses=tuple(addresses), clock=lambda: self.now, draw=lambda: 0.5)

    def run(self, steps: Program[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._perform(effect)

    def exchange(self, call: Call[T]) -> T:
        return self.run(program.exchange(self.link, call))

    def _perform(self, effect: program.Effect) -> Outcome:
        if isinstance(effect, Sleep):
            self.slept.append(effect.seconds)
            self.now += effect.seconds
            return None
        self.sent.append(effect)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def answer(plain: Any, status: int = 200, **headers: str) -> Response:
    return Response(status=status, headers=headers, body=json.dumps(plain).encode())


def refusal(status: int, code: str, **headers: str) -> Response:
    return answer({"error": "no", "code": code, "details": {}}, status, **headers)


def test_a_submit_is_repeated_with_its_key_until_it_is_answered() -> None:
    performer = Performer(BROKEN, refusal(503, "unavailable"), answer({"taskId": "t"}, 201))
    assert performer.exchange(tasks.submit({"name": "x"}, "key")) == {"taskId": "t"}
    assert {send.request.headers["Idempotency-Key"] for send in performer.sent} == {"key"}
    assert performer.slept == [0.1, 0.2]


def test_a_submit_gives_up_when_its_patience_ends() -> None:
    performer = Performer(REFUSED)
    with pytest.raises(Unavailable) as caught:
        performer.exchange(tasks.submit({"name": "x"}, "key"))
    assert caught.value.code == "master_unreachable"
    assert performer.now <= tasks.SUBMIT_PATIENCE_SECONDS


def test_the_master_may_say_how_long_to_wait() -> None:
    performer = Performer(
        refusal(429, "too_many_requests", **{"retry-after": "3"}), answer({"taskId": "t"}, 201)
    )
    performer.exchange(tasks.submit({"name": "x"}, "key"))
    assert performer.slept == [3.0]


def test_what_cannot_be_repeated_is_sent_once() -> None:
    performer = Performer(BROKEN, addresses=("http://a", "http://b"))
    with pytest.raises(Unavailable):
        performer.exchange(tasks.replay("t").patient(60))
    assert [send.address for send in performer.sent] == ["http://a"]


def test_what_was_never_sent_goes_to_the_next_master() -> None:
    performer = Performer(REFUSED, answer({"taskId": "t"}), addresses=("http://a", "http://b"))
    performer.exchange(tasks.replay("t"))
    assert [send.address for send in performer.sent] == ["http://a", "http://b"]


def test_a_read_is_not_repeated_without_patience() -> None:
    performer = Performer(REFUSED)
    with pytest.raises(Unavailable):
        performer.exchange(tasks.read("t"))
    assert len(performer.sent) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_field", InvalidInput),
        (404, "task_not_found", NotFound),
        (409, "stale_attempt", Conflict),
        (503, "store_unavailable", Unavailable),
        (500, "internal", PodlingError),
    ],
)
def test_a_refusal_is_raised_as_its_typed_error(status: int, code: str, kind: type[PodlingError]) -> None:
    with pytest.raises(kind) as caught:
        Performer(refusal(status, code)).exchange(tasks.read("t"))
    assert (caught.value.code, caught.value.message) == (code, "no")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff"])
def test_an_answer_of_something_else_is_told(body: bytes) -> None:
    with pytest.raises(PodlingError) as caught:
        Performer(Response(status=200, headers={}, body=body)).exchange(tasks.read("t"))
    assert caught.value.code == "unexpected_answer"


def test_waiting_ends_with_the_task() -> None:
    running, ended = answer({"status": "running"}), answer({"status": "failed"})
    performer = Performer(running, running, running, ended)
    task = performer.run(program.wait_for_end(performer.link, "t", 60))
    assert task == {"status": "failed"}
    assert performer.slept == sorted(performer.slept)
    assert len(performer.slept) == 3


def test_waiting_has_a_deadline() -> None:
    performer = Performer(answer({"status": "running", "name": "x", "taskId": "t"}))
    with pytest.raises(DeadlineExceeded) as caught:
        performer.run(program.wait_for_end(performer.link, "t", 10))
    assert caught.value.code == "wait_timed_out"
    assert performer.now == pytest.approx(10)


def test_waiting_outlives_a_master_that_is_away_for_a_while() -> None:
    performer = Performer(REFUSED, REFUSED, REFUSED, answer({"status": "completed"}))
    assert performer.run(program.wait_for_end(performer.link, "t", None)) == {"status": "completed"}


def test_waiting_gives_up_when_no_master_comes_back() -> None:
    performer = Performer(REFUSED)
    with pytest.raises(Unavailable):
        performer.run(program.wait_for_end(performer.link, "t", None))
    assert performer.now <= program.MASTER_AWAY_SECONDS


def test_looking_for_a_task_is_as_patient_as_it_is_told() -> None:
    away = (REFUSED, answer([{"taskId": "a"}]))
    performer = Performer(REFUSED, refusal(404, "task_not_found"), *away)
    assert performer.run(program.find_task(performer.link, "name", 60)) == {"taskId": "a"}
    impatient = Performer(REFUSED)
    with pytest.raises(Unavailable):
        impatient.run(program.find_task(impatient.link, "name"))


def test_a_submit_takes_the_key_of_its_specification() -> None:
    assert program.key_of({"idempotencyKey": "own"}, None) == "own"
    assert program.key_of({"idempotencyKey": "own"}, "given") == "given"
    assert program.key_of({"idempotencyKey": None}, None) != program.key_of({}, None)


def test_a_prefix_is_looked_for_on_every_page() -> None:
    missing = refusal(404, "task_not_found")
    first = answer([{"taskId": "b1"}], **{"x-next-cursor": "c"})
    performer = Performer(missing, answer([]), first, answer([{"taskId": "a1"}]))
    assert performer.run(program.find_task(performer.link, "a")) == {"taskId": "a1"}
    assert performer.sent[-1].request.query == (("limit", "500"), ("cursor", "c"))


def test_a_prefix_on_two_pages_is_ambiguous() -> None:
    missing = refusal(404, "task_not_found")
    first = answer([{"taskId": "a1"}], **{"x-next-cursor": "c"})
    performer = Performer(missing, answer([]), first, answer([{"taskId": "a2"}]))
    with pytest.raises(InvalidInput) as caught:
        performer.run(program.find_task(performer.link, "a"))
    assert caught.value.details == {"taskIds": ["a1", "a2"]}


def test_a_master_that_hangs_holds_up_the_next_one_for_seconds_only() -> None:
    link = Link(addresses=("http://a", "http://b"))
    read = tasks.read("t").request
    assert program.patience_at(link, Send(request=read, address="http://a")) == NEXT_MASTER_SECONDS
    assert program.patience_at(link, Send(request=read, address="http://b")) == link.timeout_seconds
    once = tasks.cancel("t").request
    expected = NEXT_MASTER_SECONDS if once.repeatable else link.timeout_seconds
    assert program.patience_at(link, Send(request=once, address="http://a")) == expected
    assert program.preferring(link, "http://b").addresses == ("http://b", "http://a")
    assert program.preferring(link, "http://a") is link


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://a:1/", ("http://a:1",)),
        ("a:1, https://b", ("http://a:1", "https://b")),
        ("http://a:1/api/v1", ("http://a:1",)),
        ("", (program.DEFAULT_URL,)),
        ("http://[::1]:8070", ("http://[::1]:8070",)),
    ],
)
def test_addresses(url: str, addresses: tuple[str, ...]) -> None:
    assert program.addresses_of(url) == addresses


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:0", "http://a:99999", "http://a/b/c"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        program.addresses_of(url)


def test_nothing_in_a_name_becomes_another_path_or_parameter() -> None:
    request = Request(method="GET", path=path_of("tasks", "../a b?c/#"), query=query_of(x="1&y=2", z=None))
    assert target_of(request) == "/api/v1/tasks/..%2Fa%20b%3Fc%2F%23?x=1%26y%3D2"


def test_keys_differ() -> None:
    assert program.new_key() != program.new_key()
