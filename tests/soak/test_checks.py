"""The soak's own eyes: what must not be is found, and what may be is not taken for it."""

from dataclasses import replace
from typing import Any

from podling.core.policy import validate_spec
from podling.wire.tasks import parse_task
from tests.soak.check import Accepted, Findings, StoredAttempt, StoredTask, as_dict, check
from tests.soak.ledger import Ledger, parse
from tests.soak.mix import BEHAVIOURS, Work, draw, spec_of, wanted_end
from tests.soak.report import verdict

TASK = "task-1"


def work(behaviour: str = "short", runtime: str = "process", name: str = "soak-0-0") -> Work:
    [found] = [one for one in BEHAVIOURS if one.name == behaviour]
    return Work(
        name=name, runtime=runtime, behaviour=found, seconds=1.0, cancel_after=None, loses_reply=False
    )


def stored(status: str = "completed", attempt: int = 1, **more: Any) -> StoredTask:
    return StoredTask(TASK, "soak-0-0", status, attempt, **more)


def tried(attempt: int = 1, status: str = "completed", code: int | None = 0, **more: Any) -> StoredAttempt:
    defaults = {"error_code": None, "started": True}
    return StoredAttempt(TASK, attempt, status, exit_code=code, **(defaults | more))


def lost_try(attempt: int, started: bool = True) -> StoredAttempt:
    return tried(attempt, "lost", None, error_code="NODE_LOST", started=started)


def found(
    of: Work,
    task: StoredTask | None,
    tries: list[StoredAttempt],
    ledger: Ledger,
    ids: tuple[str, ...] = (TASK,),
) -> Findings:
    return check([Accepted(of, frozenset(ids))], [task] if task else [], tries, ledger)


GOOD = parse([f"start {TASK} 1 100.0", f"end {TASK} 1 101.0"])


def test_a_good_run_has_no_findings() -> None:
    findings = found(work(), stored(), [tried()], GOOD)
    assert not findings.violations()


def test_an_accepted_task_that_is_not_in_the_store_is_lost() -> None:
    assert found(work(), None, [], Ledger()).violations().keys() == {"lost"}


def test_a_task_that_never_ended_is_lost_unless_it_is_held_with_a_reason() -> None:
    tries = [tried(status="running", code=None)]
    ledger = parse([f"start {TASK} 1 100.0"])
    assert found(work(), stored("running"), tries, ledger).violations().keys() == {"lost"}
    held = found(work(), stored("running", reason="its node was lost"), tries, ledger)
    assert (held.violations(), held.held) == ({}, 1)


def test_two_tasks_of_one_key_are_found() -> None:
    assert "doubled" in found(work(), stored(), [tried()], GOOD, (TASK, "task-2")).violations()
    twins = [stored(), replace(stored(), task_id="task-2")]
    both = [tried(), replace(tried(), task_id="task-2")]
    assert "doubled" in check([Accepted(work(), frozenset({TASK}))], twins, both, GOOD).violations()


def test_an_attempt_started_twice_is_found() -> None:
    ledger = parse([f"start {TASK} 1 100.0", f"start {TASK} 1 100.5", f"end {TASK} 1 101.0"])
    assert found(work(), stored(), [tried()], ledger).violations().keys() == {"started_twice"}


def test_a_start_that_a_killed_engine_has_forgotten_is_told_apart() -> None:
    ledger = parse([f"start {TASK} 1 100.0", f"start {TASK} 1 110.0", f"end {TASK} 1 111.0"])
    for kind, runtime, killed_at, forgotten in (
        ("short", "docker", 105.0, 1),
        ("short", "docker", 95.0, 1),
        ("short", "docker", 50.0, 0),
        ("short", "docker", 112.0, 0),
        ("short", "process", 105.0, 0),
        ("once", "docker", 105.0, 0),
    ):
        accepted = [Accepted(work(kind, runtime), frozenset({TASK}))]
        findings = check(accepted, [stored()], [tried()], ledger, [killed_at])
        assert (findings.forgotten, bool(findings.started_twice)) == (forgotten, not forgotten), kind


def test_a_start_that_the_store_knows_nothing_of_is_found() -> None:
    ledger = parse([f"start {TASK} 1 100.0", f"end {TASK} 1 101.0", f"start {TASK} 2 102.0"])
    assert found(work(), stored(), [tried()], ledger).violations().keys() == {"inconsistent"}


def test_at_most_once_started_twice_in_all_is_found() -> None:
    tries = [lost_try(1), tried(2)]
    ledger = parse([f"start {TASK} 1 100.0", f"start {TASK} 2 110.0", f"end {TASK} 2 111.0"])
    assert found(work("once"), stored(attempt=2), tries, ledger).violations().keys() == {"doubled"}
    assert not found(work("long"), stored(attempt=2), tries, ledger).violations()


def test_at_most_once_may_go_elsewhere_if_it_never_started() -> None:
    tries = [lost_try(1, started=False), tried(2)]
    ledger = parse([f"start {TASK} 2 110.0", f"end {TASK} 2 111.0"])
    assert not found(work("once"), stored(attempt=2), tries, ledger).violations()


def test_a_simulated_task_is_checked_by_its_attempts_alone() -> None:
    once = work("once", "simulated")
    assert not found(once, stored(), [tried()], Ledger()).violations()
    twice = found(once, stored(attempt=2), [lost_try(1), tried(2)], Ledger())
    assert twice.violations().keys() == {"doubled"}


def test_an_end_that_no_process_wrote_is_found() -> None:
    ledger = parse([f"start {TASK} 1 100.0"])
    assert found(work(), stored(), [tried()], ledger).violations().keys() == {"wrong_end"}


def test_a_wrong_end_is_found_unless_the_policy_forbade_to_repair_the_loss() -> None:
    tries = [lost_try(1)]
    ledger = parse([f"start {TASK} 1 100.0"])
    failed = stored("failed", error_code="NODE_LOST", reason="lost")
    assert found(work("short"), failed, tries, ledger).violations().keys() == {"wrong_end"}
    assert not found(work("fails when lost"), failed, tries, ledger).violations()
    bad = replace(failed, error_code="EXIT_CODE")
    assert found(work("fails when lost"), bad, tries, ledger).violations().keys() == {"wrong_end"}


def test_contradictions_of_task_and_attempts_are_found() -> None:
    for task, tries in (
        (stored(attempt=2), [tried()]),
        (stored(attempt=1), [tried(status="running")]),
        (stored(attempt=2), [tried(1, "running"), tried(2)]),
        (stored("failed", reason="?"), [tried(status="failed", code=None, error_code="SIGNAL")]),
    ):
        assert "inconsistent" in found(work(), task, tries, GOOD).violations(), (task, tries)


def test_overlaps_of_attempts_are_counted_and_are_no_violation() -> None:
    lines = [f"start {TASK} 1 100.0", f"start {TASK} 2 105.0", f"end {TASK} 1 106.0", f"end {TASK} 2 107.0"]
    findings = found(work("long"), stored(attempt=2), [lost_try(1), tried(2)], parse(lines))
    assert (findings.violations(), findings.overlaps) == ({}, 1)


def test_lines_that_say_nothing_are_counted() -> None:
    ledger = parse(["start task-1", "end task-1 x 1.0", "nonsense", f"start {TASK} 1 1.5"])
    assert (ledger.torn, ledger.started_at) == (3, {(TASK, 1): [1.5]})


def test_the_mix_is_the_seed_s_alone() -> None:
    runtimes = ("docker", "process", "simulated")
    drawn = [draw(7, number, runtimes) for number in range(400)]
    assert drawn == [draw(7, number, runtimes) for number in range(400)]
    assert drawn != [draw(8, number, runtimes) for number in range(400)]
    assert {one.behaviour.name for one in drawn} == {one.name for one in BEHAVIOURS}
    assert {one.runtime for one in drawn} == set(runtimes)


def test_every_work_becomes_a_task_that_podling_takes() -> None:
    for number in range(200):
        one = draw(3, number, ("docker", "process", "simulated"))
        spec = parse_task(spec_of(one, "/tmp/ledger", "volume", ("MARK", "1")), one.name)
        assert validate_spec(spec, allow_simulated=True).name == one.name
        assert wanted_end(one)


def test_a_run_in_which_nothing_happened_has_not_passed() -> None:
    empty: dict[str, Any] = {"tasks": {}, "faults": {}, "violations": {}, "times": {}, "failures": []}
    empty |= {"seed": 7, "staleAccepted": 0, "leftBehind": 0, "findings": as_dict(Findings())}
    busy = empty | {"tasks": {"process": 3}, "faults": {"PostgreSQL killed": 1}}
    back = {"first commit after PostgreSQL's return": {"max": 1.5}}
    assert verdict(empty).startswith("CHAOS_RESULT verdict=nothing_happened seed=7 tasks=0 faults=0 lost=0 ")
    assert verdict(busy | {"times": back}).startswith("CHAOS_RESULT verdict=passed seed=7 tasks=3 faults=1 ")
    assert verdict(busy | {"times": back}).endswith(" first_commit_s_max=1.50")
    assert " verdict=failed " in verdict(busy | {"violations": {"lost": ["task 1"]}})
