"""Moving an export over, without any network: what is sent again, and under which key."""

import json
from typing import Any

import pytest

from podling.client.moving import Moved, move, read_export
from podling.core.errors import InvalidInput, Unavailable
from tests.client.test_client_program import BROKEN, Performer, answer


def task(task_id: str, **more: Any) -> dict[str, Any]:
    return {"taskId": task_id, "name": "job", "status": "pending", "idempotencyKey": None} | more


def sent(performer: Performer) -> list[list[str]]:
    """Return the keys of each batch that was sent."""
    return [[item["idempotencyKey"] for item in send.request.body["tasks"]] for send in performer.sent]


def moved_by(performer: Performer, *tasks: dict[str, Any]) -> Moved:
    moved = Moved()
    performer.run(move(performer.link, tasks, moved, lambda count: None))
    return moved


def test_a_lost_reply_is_asked_for_again_under_the_same_keys() -> None:
    performer = Performer(BROKEN, answer([{"taskId": "new-a"}, {"taskId": "new-b"}]))
    moved = moved_by(performer, task("a"), task("b", idempotencyKey="own"))
    assert sent(performer) == [["import-a", "own"]] * 2
    assert moved.task_ids == {"a": "new-a", "b": "new-b"}


def test_only_what_was_not_accepted_in_a_batch_is_sent_again() -> None:
    busy = {"error": "too many requests wait", "code": "overloaded", "details": {}}
    performer = Performer(answer([{"taskId": "new-a"}, busy]), answer([{"taskId": "new-b"}]))
    assert moved_by(performer, task("a"), task("b")).task_ids == {"a": "new-a", "b": "new-b"}
    assert sent(performer) == [["import-a", "import-b"], ["import-b"]]


def test_a_master_that_stays_overloaded_ends_the_import() -> None:
    performer = Performer(answer([{"error": "no", "code": "store_unavailable", "details": {}}]))
    with pytest.raises(Unavailable, match="run the import again"):
        moved_by(performer, task("a"))


def test_a_task_that_has_changed_since_the_first_import_is_the_same_task() -> None:
    other = {"error": "used", "code": "idempotency_mismatch", "details": {"taskId": "new-a"}}
    assert moved_by(Performer(answer([other])), task("a")).task_ids == {"a": "new-a"}


def test_another_task_under_a_key_that_somebody_chose_is_refused() -> None:
    other = {"error": "used", "code": "idempotency_mismatch", "details": {"taskId": "new-a"}}
    moved = moved_by(Performer(answer([other])), task("a", idempotencyKey="nightly"))
    assert (moved.task_ids, moved.refused) == ({}, [{"taskId": "a", **other}])


def test_batches_are_bounded_in_number_and_size() -> None:
    def accept(count: int) -> Any:
        return answer([{"taskId": "x"}] * count)

    small = Performer(accept(200), accept(200), accept(1))
    moved_by(small, *[task(str(number)) for number in range(401)])
    assert [len(keys) for keys in sent(small)] == [200, 200, 1]
    large = Performer(accept(2), accept(1))
    moved_by(large, *[task(str(number), env={"X": "x" * 500_000}) for number in range(3)])
    assert [len(keys) for keys in sent(large)] == [2, 1]


def test_lines_and_a_list_are_read_alike() -> None:
    tasks = [task("a"), task("b")]
    assert list(read_export(map(json.dumps, tasks))) == tasks
    assert list(read_export(json.dumps(tasks, indent=1).splitlines(keepends=True))) == tasks
    with pytest.raises(InvalidInput, match="line 1 is not a task"):
        list(read_export(["3"]))


def test_who_was_let_go_there_waits_for_nobody_here() -> None:
    performer = Performer(answer([{"taskId": "new-a"}, {"taskId": "new-b"}]))
    parents = [{"taskId": "old", "when": "success"}]
    moved_by(
        performer,
        task("a", runAt="2026-03-01T12:00:00.000000Z", dependsOn=parents),
        task("b", runAt=None, dependsOn=parents),
    )
    assert [item["dependsOn"] for item in performer.sent[0].request.body["tasks"]] == [[], parents]
