"""What is shown of an output whose worker goes away and comes back."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podling.cli.follow import Follower
from podling.cli.invocation import Invocation
from podling.wire.logs import CUT_OFF

RUNNING = {"taskId": "t", "status": "running", "attempt": 1}
COMPLETED = RUNNING | {"status": "completed"}


class Scripted:
    """A client that gives these streams one after the other; the task has ended after the last of them."""

    def __init__(self, *streams: list[bytes]) -> None:
        self._streams = list(streams)

    def stream(self, call: Any, silence_seconds: float) -> Iterator[bytes]:
        yield from self._streams.pop(0)

    def send(self, call: Any) -> dict[str, Any]:
        return RUNNING if self._streams else COMPLETED


def followed(*streams: list[bytes]) -> list[str]:
    """Follow a task with these streams; return the notes."""
    notes: list[str] = []
    cli = SimpleNamespace(client=Scripted(*streams), note=notes.append, detail=notes.append)
    follower = Follower(cast(Invocation, cli))
    follower.until_end(RUNNING)
    return [*notes, f"missing: {follower.missing}"] if follower.missing else notes


def test_the_note_of_a_tail_that_is_shorter_than_what_was_shown_takes_no_output_away(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    notes = followed([b"0020\n0021\n"], [b"0020\n" + CUT_OFF], [CUT_OFF], [b"0020\n0021\n00", b"22\n"])
    assert capfdbinary.readouterr().out == b"0020\n0021\n0022\n"
    assert len(notes) == 1 and "does not answer" in notes[0]


@pytest.mark.parametrize("at", range(1, len(CUT_OFF)))
def test_a_note_in_two_pieces_is_not_shown(capfdbinary: pytest.CaptureFixture[bytes], at: int) -> None:
    notes = followed([b"one\n" + CUT_OFF[:at], CUT_OFF[at:]], [b"one\ntwo\n"])
    assert capfdbinary.readouterr().out == b"one\ntwo\n"
    assert len(notes) == 1


def test_output_that_begins_like_a_note_is_shown(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert followed([b"one\n[podling: the w", b"ay it was]\n", b"[podling:", b""], [b"one\n"]) == []
    assert capfdbinary.readouterr().out == b"one\n[podling: the way it was]\n[podling:"


def test_an_end_that_is_not_to_be_had_is_told(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.cli.follow.MISSING_SECONDS", 0.0)
    notes = followed([b"one\n" + CUT_OFF])
    assert capfdbinary.readouterr().out == b"one\n"
    assert notes == [
        "the worker does not answer; the output goes on here when it does",
        "part of the output is missing here: the worker does not answer",
        "missing: the worker does not answer",
    ]


def test_what_an_ended_attempt_wrote_last_is_asked_for_again(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Its worker comes back, or another master is there."""
    client = Scripted([b"one\n" + CUT_OFF], [b"one\ntwo\n"])
    client.send = lambda call: COMPLETED  # type: ignore[method-assign]
    cli = SimpleNamespace(client=client, note=lambda text: None, detail=lambda text: None)
    follower = Follower(cast(Invocation, cli))
    follower.until_end(RUNNING)
    assert capfdbinary.readouterr().out == b"one\ntwo\n"
    assert follower.missing is None
