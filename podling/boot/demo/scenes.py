"""What the demo shows. Each scene submits a task by REST, plays its part, and tells how it ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podling.boot.demo.machine import Cluster
from podling.boot.demo.screen import Screen
from podling.client import nodes, tasks
from podling.core.value import value

WAIT_SECONDS = 60.0

HELLO = "echo hello from $(hostname); echo task $PODLING_TASK_ID; sleep 1"
FLAKY = "echo attempt $PODLING_ATTEMPT; test $PODLING_ATTEMPT -ge 2 || { echo no luck yet >&2; exit 75; }"
STEADY = "trap 'echo asked to stop; exit 0' TERM; echo at work; sleep 3600 & wait"
SURVIVOR = "for n in 1 2 3 4 5 6; do echo step $n of 6; sleep 1; done"


@value
class Stage:
    cluster: Cluster
    screen: Screen

    def submit(self, name: str, script: str, **more: Any) -> str:
        """Submit a shell script as a task; return its id."""
        engine = self.cluster.engine
        spec = {"name": name, "runtime": engine.runtime, "command": ["sh", "-c", script]} | more
        if engine.image:
            spec |= {"image": engine.image, "pullPolicy": "Never"}
        return str(self.cluster.client.submit(spec)["taskId"])

    def wait_for_end(self, task_id: str) -> Mapping[str, Any]:
        return self.cluster.client.wait(task_id, WAIT_SECONDS)

    def wait_for_output(self, task_id: str, word: str) -> None:
        """Return once the task has written `word`."""

        def written() -> bool | None:
            return word in self.cluster.client.send(tasks.logs(task_id)) or None

        self.cluster.wait_until(f"the task writes {word!r}", written)

    def hostname_of(self, node_id: str) -> str:
        return str(self.cluster.client.send(nodes.read(node_id))["hostname"])

    def outcome(self, task_id: str, *, status: str, attempts: int, note: str) -> "Outcome":
        """Show placement, logs, timeline and explanation; say whether it is as it should be."""
        client = self.cluster.client
        task = client.send(tasks.read(task_id))
        tries = client.send(tasks.attempts(task_id)).items
        self.screen.placement(str(task["name"]), tries)
        self.screen.logs(client.send(tasks.logs(task_id)) if tries else "")
        lines, explanation = client.send(tasks.timeline(task_id)).items, client.send(tasks.explain(task_id))
        self.screen.timeline(lines)
        self.screen.explanation(explanation)
        went_well = task["status"] == status and len(tries) == attempts
        places = tuple(self.hostname_of(str(attempt["nodeId"])) for attempt in tries)
        return Outcome(task=task, places=places, note=note, went_well=went_well)


@value
class Outcome:
    """How a task of the demo ended, `note` in words, and whether that is what was to be shown."""

    task: Mapping[str, Any]
    places: tuple[str, ...]
    note: str
    went_well: bool


def succeed(stage: Stage) -> Sequence[Outcome]:
    stage.screen.scene("Two tasks that print and succeed, spread over two workers")
    task_ids = [stage.submit(name, HELLO) for name in ("hello", "hello-too")]
    for task_id in task_ids:
        stage.wait_for_end(task_id)
    return [
        stage.outcome(task_id, status="completed", attempts=1, note="printed, exit code 0")
        for task_id in task_ids
    ]


def retry(stage: Stage) -> Sequence[Outcome]:
    stage.screen.scene("A task that fails once and is retried")
    task_id = stage.submit("flaky", FLAKY, maxAttempts=2, retry={"baseSeconds": 1})
    stage.wait_for_end(task_id)
    return [
        stage.outcome(task_id, status="completed", attempts=2, note="failed, retried after 1 s, succeeded")
    ]


def cancel(stage: Stage) -> Sequence[Outcome]:
    stage.screen.scene("A long task that is cancelled")
    task_id = stage.submit("steady", STEADY, stopGraceSeconds=5)
    stage.wait_for_output(task_id, "at work")
    stage.screen.action("podling cancel steady")
    stage.cluster.client.send(tasks.cancel(task_id))
    stage.wait_for_end(task_id)
    return [stage.outcome(task_id, status="cancelled", attempts=1, note="asked to stop, and it did")]


def survive(stage: Stage) -> Sequence[Outcome]:
    stage.screen.scene("A task whose worker is killed with -9")
    task_id = stage.submit("survivor", SURVIVOR)
    stage.wait_for_output(task_id, "step 2")
    name = stage.hostname_of(str(stage.cluster.client.send(tasks.read(task_id))["nodeId"]))
    worker = stage.cluster.workers[name]
    stage.screen.action(f"kill -9 {worker.pid}  ({name}); then {name} is started again")
    worker.kill()
    stage.cluster.start_worker(name)
    stage.wait_for_end(task_id)
    note = f"ran on while {name} was dead, and was adopted"
    return [stage.outcome(task_id, status="completed", attempts=1, note=note)]


def ask_why(stage: Stage) -> Sequence[Outcome]:
    stage.screen.scene("A task that fits nowhere, and why")
    task_id = stage.submit("misfit", HELLO, placement={"nodeSelector": {"zone": "moon"}})

    def explained() -> Mapping[str, Any] | None:
        explanation = stage.cluster.client.send(tasks.explain(task_id))
        return explanation if explanation.get("nodes") else None

    explanation = stage.cluster.wait_until("the planner has looked at the task", explained)
    stage.screen.action("podling explain misfit")
    stage.screen.explanation(explanation)
    task = stage.cluster.client.send(tasks.cancel(task_id))
    stage.screen.action("podling cancel misfit")
    went_well = task["status"] == "cancelled"
    note = "never placed; explained, then cancelled"
    return [Outcome(task=task, places=(), note=note, went_well=went_well)]


ALL: tuple[Callable[[Stage], Sequence[Outcome]], ...] = (succeed, retry, cancel, survive, ask_why)
