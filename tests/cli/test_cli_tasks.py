"""Reading and steering tasks: ps, logs, explain, timeline, wait, cancel, retry, replay."""

import contextlib
import json
import os
import pty

import pytest

from podling.wire.logs import CUT_OFF
from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster


def test_ps_lists_newest_first_with_unique_short_ids(cli: Cli, master: FakeMaster) -> None:
    master.add_task("older", "completed")
    master.add_task("newer", "failed", error="exit code 3", exitCode=3)
    shown = cli("ps")
    header, first, second = shown.out.splitlines()
    assert shown.code == 0
    assert header.split()[:3] == ["ID", "NAME", "STATUS"]
    assert first.split()[:3] == ["01920002-0002", "newer", "failed"]
    assert "exit code 3" in first
    assert second.split()[:3] == ["01920001-0001", "older", "completed"]


def test_ps_json_is_what_the_api_gave_wherever_the_flag_stands(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello")
    assert json.loads(cli("ps", "--json").out) == [task]
    assert json.loads(cli("--json", "ps").out) == [task]


def test_ps_filters(cli: Cli, master: FakeMaster) -> None:
    master.add_task("a", "running", queue="gpu", labels={"team": "x"})
    master.add_task("b", "running")
    master.add_task("c", "failed", queue="gpu")
    master.add_task("d", "pending", queue="gpu")

    def names(*flags: str) -> list[str]:
        return [task["name"] for task in json.loads(cli("ps", "--json", *flags).out)]

    assert names("--status", "running", "--queue", "gpu") == ["a"]
    assert names("--status", "running", "--status", "failed") == ["c", "b", "a"]
    assert names("--label", "team=x") == ["a"]
    assert names("--node", "node-1", "--queue", "gpu") == ["c", "a"]


def test_ps_says_when_there_are_more_and_all_shows_them(cli: Cli, master: FakeMaster) -> None:
    for number in range(3):
        master.add_task(f"task-{number}")
    limited = cli("ps", "--limit", "2")
    assert len(limited.out.splitlines()) == 3
    assert "the list ends after 2" in limited.err
    everything = cli("ps", "--all")
    assert len(everything.out.splitlines()) == 4
    assert everything.err == ""


def test_ps_of_one_task_shows_its_fields(cli: Cli, master: FakeMaster) -> None:
    master.add_task("hello", "completed")
    shown = cli("ps", "-t", "hello")
    assert "status:              completed" in shown.out
    assert "exitCode:            0" in shown.out
    assert "errorCode" not in shown.out


def test_names_from_the_server_cannot_play_with_the_terminal(cli: Cli, master: FakeMaster) -> None:
    master.add_task("evil\x1b[2J\u202e", "failed", error="line one\r\nline two")
    shown = cli("ps")
    assert "evil\\x1b[2J\\u202e" in shown.out
    assert "line one\\r\\nline two" in shown.out
    assert "\x1b" not in shown.out


def test_a_pipe_gets_no_colours_and_no_wrapped_lines(cli: Cli, master: FakeMaster) -> None:
    master.add_task("x" * 200, "running")
    shown = cli("ps")
    assert "\x1b" not in shown.out
    assert "x" * 200 in shown.out


def terminal_output(cli: Cli, **environment: str) -> str:
    """Run `podling ps` with a terminal as its standard output; return what it wrote there."""
    reader, writer = pty.openpty()
    program = cli.start("ps", stdout=writer, TERM="xterm", COLUMNS="200", **environment)
    os.close(writer)
    program.communicate(timeout=20)
    written = b""
    with contextlib.suppress(OSError):  # how a terminal tells its end
        while chunk := os.read(reader, 65536):
            written += chunk
    os.close(reader)
    return written.decode()


def test_a_terminal_gets_colours_unless_it_wants_none(cli: Cli, master: FakeMaster) -> None:
    master.add_task("evil\x1b[2J", "failed")
    coloured = terminal_output(cli)
    assert "\x1b[31mfailed\x1b[0m" in coloured
    assert "evil\\x1b[2J" in coloured
    plain = terminal_output(cli, NO_COLOR="1")
    assert "failed" in plain
    assert "\x1b[31m" not in plain


@pytest.mark.parametrize("reference", ["01920001-0001-7000-8000-000000000000", "01920001", "hello"])
def test_a_task_is_meant_by_id_prefix_or_name(cli: Cli, master: FakeMaster, reference: str) -> None:
    task = master.add_task("hello")
    master.add_task("other")
    assert json.loads(cli("ps", "-t", reference, "--json").out) == task


def test_a_name_means_its_newest_task(cli: Cli, master: FakeMaster) -> None:
    master.add_task("hello")
    newest = master.add_task("hello")
    assert json.loads(cli("ps", "-t", "hello", "--json").out) == newest


def test_a_prefix_of_several_ids_is_refused(cli: Cli, master: FakeMaster) -> None:
    master.add_task("a")
    master.add_task("b")
    shown = cli("explain", "0192")
    assert (shown.code, shown.out) == (2, "")
    assert "several tasks have an id that begins with '0192'" in shown.err


@pytest.mark.parametrize("reference", ["nothing", "../nodes", "ä", "a/b", " "])
def test_no_such_task_is_exit_code_3(cli: Cli, master: FakeMaster, reference: str) -> None:
    master.add_task("hello")
    shown = cli("explain", reference)
    assert shown.code == 3
    assert shown.err.count("\n") == 1
    assert "no task has the name" in shown.err


def test_explain_puts_the_summary_first_and_the_advice_last(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("big")
    master.explanations[task["taskId"]] = {
        "taskId": task["taskId"],
        "status": "pending",
        "summary": "no node has enough memory",
        "reasons": [{"code": "memory", "message": "2 nodes lack memory", "details": {}}],
        "nodes": [{"nodeId": "node-1", "fits": False, "lacks": ["memory: 8Gi wanted, 1Gi free"]}],
        "queuePosition": 4,
        "nextEventAt": None,
        "advice": "add a node",
    }
    lines = [line for line in cli("why", "big").out.splitlines() if line]
    assert lines[0] == "no node has enough memory"
    assert lines[1] == "  - 2 nodes lack memory"
    assert lines[2].split() == ["NODE", "FITS", "LACKS"]
    assert lines[3].split(maxsplit=2) == ["node-1", "no", "memory: 8Gi wanted, 1Gi free"]
    assert lines[4:] == ["Position in its queue: 4", "Advice: add a node"]


def test_timeline_counts_from_the_submission(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed")
    master.timelines[task["taskId"]] = [
        _event("2026-01-01T00:00:00.000000Z", "submitted", None),
        _event("2026-01-01T00:00:01.500000Z", "started", 1),
        _event("2026-01-01T00:02:03.000000Z", "completed", 1),
    ]
    _, _, first, second, third = cli("timeline", "hello").out.splitlines()
    assert first.split()[:3] == ["+0.000s", "●───────────────────", "submitted"]
    assert second.split()[0] == "+1.500s"
    assert third.split()[:3] == ["+2m03s", "───────────────────●", "completed"]


def _event(at: str, kind: str, attempt: int | None) -> dict[str, object]:
    return {"at": at, "type": kind, "attempt": attempt, "actor": "x", "message": "m", "details": {}}


def test_logs_are_raw(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed")
    master.outputs[task["taskId"], 1] = b"\x1b[31mone\x1b[0m\ntwo\n"
    assert cli("logs", "hello").out == "\x1b[31mone\x1b[0m\ntwo\n"
    assert cli("logs", "hello", "--tail", "1").out == "two\n"


def test_logs_of_a_chosen_attempt(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed", attempt=2)
    master.outputs[task["taskId"], 1] = b"first try\n"
    master.outputs[task["taskId"], 2] = b"second try\n"
    assert cli("logs", "hello").out == "second try\n"
    assert cli("logs", "hello", "--attempt", "1").out == "first try\n"


def test_logs_json_is_one_object(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed", attempt=2)
    master.outputs[task["taskId"], 1] = b"first try\n"
    master.outputs[task["taskId"], 2] = b"second \xff try\n"
    given = {"taskId": task["taskId"], "attempt": 2, "log": "second \ufffd try\n"}
    assert json.loads(cli("logs", "hello", "--json").out) == given
    first = given | {"attempt": 1, "log": "first try\n"}
    assert json.loads(cli("logs", "hello", "--json", "--attempt", "1").out) == first


def test_logs_json_of_a_task_that_never_started_has_no_attempt(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello")
    assert json.loads(cli("logs", "hello", "--json").out) == {
        "taskId": task["taskId"],
        "attempt": None,
        "log": "",
    }


@pytest.mark.parametrize("flags", [(), ("--attempt", "1", "--follow"), ("--follow",)])
def test_logs_whose_end_cannot_be_had_do_not_end_well(
    cli: Cli, master: FakeMaster, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podling.cli.follow.MISSING_SECONDS", 0.0)
    task = master.add_task("hello", "completed")
    master.outputs[task["taskId"], 1] = b"one\ntw" + CUT_OFF
    shown = cli("logs", "hello", *flags)
    assert (shown.code, shown.out) == (1, "one\ntw")
    assert "part of the output is missing here: the worker does not answer" in shown.err


def test_logs_json_tells_why_the_end_cannot_be_had(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "completed")
    master.outputs[task["taskId"], 1] = b"one\n" + CUT_OFF
    shown = cli("logs", "hello", "--json")
    told = json.loads(shown.out)
    assert (shown.code, told["log"], told["missing"]) == (1, "one\n", "the worker does not answer")


def test_logs_json_does_not_follow(cli: Cli, master: FakeMaster) -> None:
    master.add_task("hello", "running")
    shown = cli("logs", "hello", "--json", "--follow")
    assert (shown.code, shown.out) == (2, "")
    assert "--json prints a log as one object and cannot follow it" in shown.err
    assert master.requests == []


def test_logs_follow_until_the_end(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("hello", "running", startedAt="2026-01-01T00:00:00Z")
    master.outputs[task["taskId"], 1] = b"first\n"
    program = cli.start("logs", "-f", "hello")
    assert program.stdout is not None
    assert program.stdout.readline() == "first\n"
    master.write(task, b"second\n")
    assert program.stdout.readline() == "second\n"
    master.change(task, status="completed")
    assert program.communicate(timeout=20) == ("", "")
    assert program.returncode == 0


@pytest.mark.parametrize("since", ["tomorrow", "10x", ""])
def test_logs_refuse_a_wrong_time(cli: Cli, master: FakeMaster, since: str) -> None:
    master.add_task("hello", "completed")
    shown = cli("logs", "hello", "--since", since)
    assert shown.code == 2
    assert "--since" in shown.err


def test_wait_tells_the_end(cli: Cli, master: FakeMaster) -> None:
    master.add_task("good", "completed")
    master.add_task("bad", "failed", exitCode=3, error="the command failed")
    assert cli("wait", "good").code == 0
    shown = cli("wait", "good", "bad")
    assert shown.code == 1
    assert "bad failed with exit code 3: the command failed" in shown.out.splitlines()[1]


def test_wait_times_out_with_124(cli: Cli, master: FakeMaster) -> None:
    master.add_task("slow", "running")
    shown = cli("wait", "slow", "--timeout", "50ms")
    assert shown.code == 124
    assert shown.err == "podling: task slow has not ended in time; it is running\n"


def test_wait_sees_the_end_when_it_comes(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("slow", "running")
    program = cli.start("wait", "slow", "--timeout", "20")
    master.change(task, status="completed", exitCode=0)
    out, _ = program.communicate(timeout=20)
    assert out == f"{task['taskId']} slow completed with exit code 0\n"
    assert program.returncode == 0


def test_wait_begins_while_the_master_is_away(cli: Cli, master: FakeMaster) -> None:
    busy = (503, {"error": "no leader", "code": "unavailable"}, {"Retry-After": "0"})
    master.add_task("good", "completed")
    master.faults = [busy, "drop"]
    assert cli("wait", "good").code == 0
    assert master.faults == []


def test_wait_for_a_master_that_stays_away_ends_with_its_timeout(cli: Cli, master: FakeMaster) -> None:
    cli.url = "http://127.0.0.1:1"
    shown = cli("wait", "good", "--timeout", "50ms")
    assert shown.code == 5
    assert "no master answers" in shown.err


def test_cancel_stops_what_it_can_and_tells_what_it_cannot(cli: Cli, master: FakeMaster) -> None:
    task = master.add_task("waiting")
    master.add_task("over", "completed")
    shown = cli("cancel", "over", "waiting")
    assert shown.code == 4
    assert shown.out == f"{task['taskId']} cancelled\n"
    assert shown.err == "podling: over: a task that is completed cannot cancel\n"


def test_cancel_of_a_running_task_says_that_it_is_told_to_stop(cli: Cli, master: FakeMaster) -> None:
    master.on_cancel = lambda task: None
    master.add_task("busy", "running")
    assert "is told to stop" in cli("cancel", "busy").out


def test_retry_and_replay(cli: Cli, master: FakeMaster) -> None:
    master.add_task("waiting")
    over = master.add_task("over", "failed")
    assert "need not wait" in cli("retry", "waiting").out
    shown = cli("replay", "over")
    assert master.tasks[shown.out.strip()]["replayOf"] == over["taskId"]
    assert cli("replay", "waiting").code == 4


def test_resolve_says_what_became_of_a_held_task(cli: Cli, master: FakeMaster) -> None:
    first = master.add_task("first", "running", held="its node is lost")
    second = master.add_task("second", "running", held="its node is lost")
    master.add_task("third", "running")
    assert cli("resolve", "first", "completed").out == f"{first['taskId']} completed\n"
    assert json.loads(cli("resolve", "second", "retry", "--json").out)["status"] == "pending"
    assert second["held"] is None
    refused = cli("resolve", "third", "failed")
    assert (refused.code, "not held" in refused.err) == (4, True)
    wrong = cli("resolve", "third", "lost")
    assert wrong.code == 2 and "retry" in wrong.err


def test_resolve_means_the_attempt_that_it_looked_up_or_was_given(cli: Cli, master: FakeMaster) -> None:
    first = master.add_task("first", "running", held="its node is lost", attempt=2)
    refused = cli("resolve", "first", "retry", "--attempt", "1")
    assert (refused.code, "not its live one" in refused.err, bool(first["held"])) == (4, True, True)
    assert cli("resolve", "first", "retry").code == 0
    assert master.resolved_attempts == [1, 2]


@pytest.mark.parametrize("reference", ["host-alpha", "al", "alpha"])
def test_ps_takes_a_node_by_host_or_beginning(cli: Cli, master: FakeMaster, reference: str) -> None:
    master.nodes = [{"nodeId": "alpha", "hostname": "host-alpha"}, {"nodeId": "beta", "hostname": "b"}]
    master.add_task("there", "running", nodeId="alpha")
    master.add_task("elsewhere", "running", nodeId="beta")
    listed = json.loads(cli("ps", "--node", reference, "--json").out)
    assert [task["name"] for task in listed] == ["there"]


def test_ps_of_a_node_that_nobody_knows(cli: Cli, master: FakeMaster) -> None:
    master.add_task("old", "completed", nodeId="gone")
    assert "old" in cli("ps", "--node", "gone").out
    for unknown in ("nowhere", ""):
        shown = cli("ps", "--node", unknown)
        assert (shown.code, shown.err) == (3, "podling: node not found\n")


def test_errors_are_objects_with_json(cli: Cli, master: FakeMaster) -> None:
    shown = cli("explain", "nothing", "--json")
    assert (shown.code, shown.out) == (3, "")
    assert json.loads(shown.err)["code"] == "task_not_found"
    master.add_task("endless", "running")
    shown = cli("wait", "endless", "--timeout", "1ms", "--json")
    told = json.loads(shown.err)
    assert (shown.code, told["code"]) == (124, "wait_timed_out")
    assert told["details"]["taskId"] in master.tasks
    shown = cli("cancel", "endless", "nothing", "--json", "--verbose")
    assert json.loads(shown.err)["about"] == "nothing"
    assert [task["name"] for task in json.loads(shown.out)] == ["endless"]
