"""The life of tasks with real programs and containers, through the command as people type it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podling.boot.demo.machine import free_port
from podling.client import nodes, tasks
from tests.e2e.programs import IMAGE, Programs, programs, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker-tasks")]


@pytest.fixture(scope="module", params=["memory", "postgres"])
def running(request: pytest.FixtureRequest, engine: None) -> Iterator[Programs]:
    with programs(request.param) as started:
        started.start_master()
        for name in ("worker-1", "worker-2"):
            started.start_worker(name, "--label", f"name={name}")
        started.wait_for_workers(2)
        yield started


def podling(running: Programs, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    code = "from podling.boot.cli import main; raise SystemExit(main())"
    environment = os.environ | {"PODLING_MASTER_URL": running.client.link.addresses[0], "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def submit(running: Programs, script: str, **more: Any) -> str:
    spec = {"name": "e2e", "image": IMAGE, "command": ["sh", "-c", script], **more}
    return str(running.client.submit(spec)["taskId"])


def ended(running: Programs, task_id: str) -> dict[str, Any]:
    return dict(running.client.wait(task_id, timeout_seconds=60))


def wait_for_output(running: Programs, task_id: str, word: str) -> None:
    until(f"{word} is written", lambda: word in podling(running, "logs", task_id).stdout)


def test_prints_and_succeeds(running: Programs) -> None:
    done = podling(running, "run", "hello", "-i", IMAGE, "--follow", "--", "echo", "hello", "world")
    assert (done.returncode, done.stdout) == (0, "hello world\n"), done
    listed = json.loads(podling(running, "ps", "--json", "--all").stdout)
    task = next(task for task in listed if task["name"] == "hello")
    assert task["status"] == "completed"
    assert task["exitCode"] == 0
    assert task["containerId"]
    assert podling(running, "logs", "hello").stdout == "hello world\n"
    until("its container is removed", lambda: not running.containers())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("submit_and_wait.py", ["line 1", "line 2", "line 3"]),
        ("fan_out.py", [f"square-{number}: {number * number}" for number in range(5)]),
    ],
)
def test_an_example_program_does_what_it_says(running: Programs, name: str, said: list[str]) -> None:
    environment = os.environ | {"PODLING_MASTER_URL": running.client.link.addresses[0]}
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    found = done.stdout.splitlines()[: len(said)]
    assert found == said, "\n".join(map(running.log, ("master", "worker-1", "worker-2")))


def test_fails_is_retried_and_says_why(running: Programs) -> None:
    script = 'echo "try $PODLING_ATTEMPT"; echo broken >&2; exit 7'
    task_id = submit(running, script, maxAttempts=2, retry={"baseSeconds": 0.1})
    task = ended(running, task_id)
    assert (task["status"], task["exitCode"], task["errorCode"]) == ("failed", 7, "EXIT_CODE")
    assert task["deadLetterReason"] == "MAX_ATTEMPTS_EXCEEDED"
    assert [attempt["exitCode"] for attempt in running.attempts(task_id)] == [7, 7]
    assert "7" in podling(running, "explain", task_id).stdout.splitlines()[0]
    assert podling(running, "logs", task_id, "--attempt", "1", "--stream", "stdout").stdout == "try 1\n"
    assert podling(running, "logs", task_id, "--stream", "stderr").stdout == "broken\n"


def test_the_exit_code_is_the_command_s_own(running: Programs) -> None:
    done = podling(running, "run", "five", IMAGE, "--wait", "--", "sh", "-c", "exit 5")
    assert done.returncode == 5, done


def test_cancel_stops_a_running_container_with_its_grace(running: Programs) -> None:
    script = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done'
    task_id = submit(running, script)
    wait_for_output(running, task_id, "up")
    assert podling(running, "cancel", task_id).returncode == 0
    assert ended(running, task_id)["status"] == "cancelled"
    until("the goodbye is kept", lambda: "bye" in podling(running, "logs", task_id).stdout)


def test_a_timeout_ends_an_attempt(running: Programs) -> None:
    task_id = submit(running, "sleep 60", timeoutSeconds=0.5, stopGraceSeconds=0)
    task = ended(running, task_id)
    assert (task["status"], task["errorCode"]) == ("failed", "TIMEOUT")


def own_platform(running: Programs) -> str:
    """The platform of the nodes, as their labels have it."""
    node = next(iter(running.client.list_all(nodes.listing)))
    return f"{node['labels']['kubernetes.io/os']}/{node['labels']['kubernetes.io/arch']}"


def test_options_reach_the_container(running: Programs) -> None:
    port = free_port()
    task_id = submit(
        running,
        "echo up; sleep 30",
        env={"GREETING": "hi"},
        workingDir="/tmp",
        user="1000:1000",
        init=True,
        labels={"app": "web"},
        resources={"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        ports=[{"containerPort": 80, "hostPort": port}],
        tmpfs={"/scratch": "size=1m"},
        stopGraceSeconds=0,
        readOnlyRoot=True,
        shmSize="1Mi",
        ulimits={"nofile": 512},
        capabilities={"drop": ["ALL"]},
        extraHosts={"db": "10.0.0.5"},
        logging={"maxSize": "1Mi", "maxFiles": 2},
        platform=own_platform(running),
    )
    wait_for_output(running, task_id, "up")
    container = running.engine.containers.get(running.task(task_id)["containerId"]).attrs
    assert "GREETING=hi" in container["Config"]["Env"]
    assert f"PODLING_TASK_ID={task_id}" in container["Config"]["Env"]
    assert (container["Config"]["WorkingDir"], container["Config"]["User"]) == ("/tmp", "1000:1000")
    host = container["HostConfig"]
    assert (host["Memory"], host["Init"]) == (64 * 2**20, True)
    assert (host["ReadonlyRootfs"], host["ShmSize"], host["CapDrop"]) == (True, 2**20, ["ALL"])
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 512, "Hard": 512}]
    assert host["ExtraHosts"] == ["db:10.0.0.5"]
    assert host["LogConfig"]["Config"]["max-size"] == str(2**20)
    assert "/scratch" in host["Tmpfs"]
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert container["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == str(port)
    running.client.send(tasks.cancel(task_id))
    assert ended(running, task_id)["status"] == "cancelled"


def test_placement_by_label_and_use_is_shown(running: Programs) -> None:
    task_id = submit(
        running,
        "echo up; sleep 30",
        placement={"nodeSelector": {"name": "worker-2"}},
        resources={"requests": {"cpu": "100m", "memory": "32Mi"}},
        stopGraceSeconds=0,
    )
    wait_for_output(running, task_id, "up")
    node_id = running.task(task_id)["nodeId"]
    node = next(node for node in running.client.list_all(nodes.listing) if node["nodeId"] == node_id)
    assert node["hostname"] == "worker-2"
    assert node["runningTasks"] == 1
    assert node["resources"]["used"] == {"cpu": 100, "memory": 32 * 2**20}
    running.client.send(tasks.cancel(task_id))
    ended(running, task_id)


def test_what_fits_nowhere_is_accepted_and_explained(running: Programs) -> None:
    spec = {"name": "big", "image": IMAGE, "resources": {"requests": {"cpu": "900"}}}
    task = running.client.submit(spec)
    assert task["status"] == "pending"
    assert "cpu" in (task["schedulingError"] or "")
    assert "cpu" in podling(running, "why", str(task["taskId"])).stdout
    running.client.send(tasks.cancel(str(task["taskId"])))


def test_a_missing_image_is_told(running: Programs) -> None:
    task = ended(
        running,
        str(running.client.submit({"name": "x", "image": "no-such:1", "pullPolicy": "Never"})["taskId"]),
    )
    assert (task["status"], task["errorCode"]) == ("failed", "IMAGE_MISSING")
    assert "no-such:1" in task["error"]


def test_a_container_removed_by_hand_is_run_again(running: Programs) -> None:
    task_id = submit(running, 'echo up; [ "$PODLING_ATTEMPT" = 2 ] || sleep 60')
    wait_for_output(running, task_id, "up")
    running.engine.containers.get(running.task(task_id)["containerId"]).remove(force=True)
    assert ended(running, task_id)["status"] == "completed"
    first, second = running.attempts(task_id)
    assert (first["errorCode"], second["exitCode"]) == ("EXTERNAL", 0)


def test_follow_ends_with_the_task_and_tail_counts_lines(running: Programs) -> None:
    task_id = submit(running, "for i in 1 2 3; do echo line $i; sleep 0.2; done")
    followed = podling(running, "logs", "-f", task_id)
    assert followed.stdout == "line 1\nline 2\nline 3\n"
    assert podling(running, "logs", task_id, "--tail", "1").stdout == "line 3\n"


def test_the_worker_tells_its_tasks(running: Programs) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{running.worker_url('worker-1')}/health", timeout=10) as answer:
        assert answer.status == 200
