"""Whatever would become a task is refused at every door by the same rule, and the refusal is kept."""

from collections.abc import Mapping
from typing import Any

import pytest

from podling.core.errors import RuntimeFailure
from podling.core.permissions import Allowed, AllowedImages, AllowedUsers, Policy, rule_in
from podling.core.protocol import Assignment
from podling.core.retry import ErrorCode
from podling.wire.tasks import parse_task
from podling.worker.admission import Admission
from tests.master.masters import RunningMaster, task_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRICT = Policy(
    images=AllowedImages(allow=("podling-*",)),
    users=AllowedUsers(root=False),
    networks=Allowed(allow=("none",)),
)
GOOD: dict[str, Any] = {"image": "podling-busybox:local", "user": "1000", "network": "none"}


def mounted(source: str) -> dict[str, Any]:
    return {"mounts": [{"type": "bind", "source": source, "target": "/data"}]}


DENIED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "image": ("images.allow", GOOD | {"image": "busybox:local"}),
    "user": ("users.root", GOOD | {"user": "root"}),
    "network": ("networks.allow", GOOD | {"network": "bridge"}),
    "host network": ("networks.allow", GOOD | {"network": "host"}),
    "another's network": ("never.containerNetwork", GOOD | {"network": "container:abc"}),
    "directory": ("hostPaths", GOOD | mounted("/srv/data")),
    "root directory": ("never.kernelPaths", GOOD | mounted("/")),
    "kernel": ("never.kernelPaths", GOOD | mounted("/proc/1/root")),
    "device": ("never.kernelPaths", GOOD | mounted("/dev/sda")),
    "privileged": ("privileged", GOOD | {"privileged": True}),
    "capability": ("capabilities.allow", GOOD | {"capabilities": {"add": ["SYS_ADMIN"]}}),
    "every capability": ("capabilities.allow", GOOD | {"capabilities": {"add": ["ALL"]}}),
    "a device itself": ("devices.allow", GOOD | {"devices": [{"hostPath": "/dev/sda"}]}),
    "no seccomp": ("securityOptions.allow", GOOD | {"securityOptions": ["seccomp=unconfined"]}),
    "real time": ("ulimits.allow", GOOD | {"ulimits": {"rtprio": 99}}),
    "engine": ("never.engineSocket", GOOD | mounted("/var/run/docker.sock")),
    "engine's directory": ("never.engineSocket", GOOD | mounted("//run/./")),
}
PRIVILEGES = "capAdd hostNetwork hostPid hostIpc pid ipc securityOpt".split()


async def ended(master: RunningMaster, **fields: Any) -> str:
    """Return the id of a task that has ended, submitted while everything was allowed."""
    master.server.use_policy(Policy())
    task = await master.api.submit(**fields)
    assert (await master.api.post(f"/tasks/{task['taskId']}/cancel")).status == 200
    return str(task["taskId"])


@pytest.mark.parametrize("name", DENIED)
async def test_every_door_refuses_the_same_by_the_same_rule(shared_master: RunningMaster, name: str) -> None:
    master, (rule, fields) = shared_master, DENIED[name]
    body = task_body(**fields)
    master.server.use_policy(STRICT)
    refused = await master.api.post("/tasks", body)
    assert (refused.status, refused.code, refused.json["details"]["rule"]) == (403, "policy_denied", rule)
    batch = (await master.api.post("/tasks:batch", {"tasks": [task_body(**GOOD), body]})).json
    assert "taskId" in batch[0]
    assert batch[1] == refused.json
    graph = {"name": "n", "tasks": [task_body(key="a", **GOOD), task_body(key="b", **fields)]}
    whole = await master.api.post("/workflows", graph)
    assert (whole.status, whole.json["details"]) == (403, refused.json["details"] | {"key": "b"})
    assert whole.json["error"] == f"task b: {refused.json['error']}"
    # An import is a batch of what an export gave, and the worker is a door of its own.
    with pytest.raises(RuntimeFailure) as failure:
        await Admission(STRICT).admit(Assignment(task_id="t", attempt=1, spec=parse_task(body)))
    assert (failure.value.code, rule_in(failure.value.message)) == (ErrorCode.POLICY_DENIED, rule)


@pytest.mark.parametrize("name", ["image", "user", "network"])
async def test_a_replay_is_asked_anew(shared_master: RunningMaster, name: str) -> None:
    master, (rule, fields) = shared_master, DENIED[name]
    task_id = await ended(master, **fields)
    master.server.use_policy(STRICT)
    refused = await master.api.post(f"/tasks/{task_id}/replay")
    assert (refused.status, refused.json["details"]["rule"]) == (403, rule)
    (kept,) = (await master.api.get("/decisions", taskId=task_id)).json
    assert (kept["door"], kept["taskId"], kept["actor"]) == ("replay", task_id, "local")
    lines = (await master.api.get(f"/tasks/{task_id}/timeline")).json
    (line,) = [line for line in lines if line["type"] == "policy_denied"]
    assert line["details"]["rule"] == rule
    assert line["message"].startswith("replay was refused: ")


@pytest.mark.parametrize("name", PRIVILEGES)
async def test_privileges_are_no_fields(shared_master: RunningMaster, name: str) -> None:
    for answer in (
        await shared_master.api.post("/tasks", task_body(**GOOD, **{name: True})),
        await shared_master.api.post("/tasks:batch", {"tasks": [task_body(**GOOD, **{name: ["ALL"]})]}),
    ):
        told = answer.json[0] if answer.status == 200 else answer.json
        assert (told["code"], told["details"]) == ("unknown_field", {"field": name})
