"""What a policy allows, and the rule that each denial names."""

from typing import Any

import pytest

from podling.core.access import Role
from podling.core.errors import PolicyDenied
from podling.core.image_names import HUB, is_like_image
from podling.core.permission_rules import check_batch
from podling.core.permissions import (
    Allowed,
    AllowedByName,
    AllowedImages,
    AllowedUsers,
    HostPath,
    Limits,
    Policy,
)
from podling.core.policy import validate_spec
from podling.core.spec import (
    Capabilities,
    ContainerSpec,
    Device,
    Mount,
    MountType,
    Port,
    ResourceRequirements,
    Runtime,
    TaskKind,
    TaskSpec,
    Ulimit,
)
from tests.builders import build_spec

SUBMITTER = frozenset({Role.SUBMITTER})
DIGEST = "sha256:" + "0a" * 32


def task(**fields: Any) -> TaskSpec:
    return build_spec(containers=(ContainerSpec(**({"image": "busybox:local"} | fields)),))


def process(**fields: Any) -> TaskSpec:
    return build_spec(runtime=Runtime.PROCESS, containers=(ContainerSpec(command=("x",), **fields),))


def device(path: str) -> TaskSpec:
    return task(devices=(Device(host_path=path),))


def adding(*names: str) -> TaskSpec:
    return task(capabilities=Capabilities(add=names))


def bind(source: str, read_only: bool = False) -> TaskSpec:
    mount = Mount(type=MountType.BIND, source=source, target="/data", read_only=read_only)
    return task(mounts=(mount,))


def volume(name: str) -> TaskSpec:
    return task(mounts=(Mount(type=MountType.VOLUME, source=name, target="/data"),))


def allowing(**images: Any) -> Policy:
    return Policy(images=AllowedImages(**images))


REGISTRIES = Policy(registries=Allowed(allow=(HUB, "*.example:5000")))
NO_ROOT = Policy(users=AllowedUsers(root=False))
USERS = Policy(users=AllowedUsers(allow=("1000-1999", "app"), groups=("100",)))
PATHS = Policy(host_paths=(HostPath(path="/srv", read_only=True), HostPath(path="/srv/data/")))
NETWORKS = Policy(networks=Allowed(allow=("none", "team-*")))
PORT_22 = Port(container_port=1, host_port=22)
PORTS = Policy(host_ports=Allowed(allow=("8000-8999", "443")))

GRANTS = Policy(
    capabilities=AllowedByName(allow=("CAP_NET_ADMIN",)),
    devices=AllowedByName(allow=("/dev/dri/*",)),
    security_options=AllowedByName(allow=("apparmor=*",)),
    ulimits=AllowedByName(allow=("nice",)),
)

DENIED: dict[str, tuple[str, str, Policy, TaskSpec]] = {
    "image": ("images.allow", "image", allowing(allow=("team/*",)), task()),
    "no image": ("images.allow", "image", allowing(allow=()), task()),
    "denied image": ("images.deny", "image", allowing(deny=("busybox",)), task(image=f"{HUB}/busybox")),
    "latest": ("images.deny", "image", allowing(deny=("**:latest",)), task(image="reg.io/a/b")),
    "registry": ("registries.allow", "image", REGISTRIES, task(image="other.example/x")),
    "registry in capitals": ("registries.allow", "image", REGISTRIES, task(image="Other.Example/x")),
    "runtime": ("runtimes.allow", "runtime", Policy(runtimes=Allowed(allow=("docker",))), process()),
    "root": ("users.root", "user", NO_ROOT, task(user="root")),
    "number 0": ("users.root", "user", NO_ROOT, task(user="00")),
    "group 0": ("users.root", "user", NO_ROOT, task(user="1000:0")),
    "the image's user": ("users.root", "user", NO_ROOT, task()),
    "a name in the image": ("users.root", "user", NO_ROOT, task(user="app")),
    "root process": ("users.root", "user", NO_ROOT, process(user="root")),
    "user": ("users.allow", "user", USERS, task(user="2000")),
    "name": ("users.allow", "user", USERS, task(user="apple")),
    "no user": ("users.allow", "user", USERS, process()),
    "group": ("users.groups", "user", USERS, task(user="app:101")),
    "path": ("hostPaths", "mounts.0.source", PATHS, bind("/etc")),
    "sibling": ("hostPaths", "mounts.0.source", PATHS, bind("/srvx", read_only=True)),
    "path to write": ("hostPaths.readOnly", "mounts.0.readOnly", PATHS, bind("/srv/other")),
    "volume": ("volumes.allow", "mounts.0.source", Policy(volumes=Allowed(allow=("a-*",))), volume("b-1")),
    "network": ("networks.allow", "network", NETWORKS, build_spec(network="bridge")),
    "host network": (
        "networks.allow", "network", Policy(networks=Allowed(allow=("*", "**"))), build_spec(network="host"),
    ),
    "privileged": ("privileged", "privileged", GRANTS, task(privileged=True)),
    "capability": (
        "capabilities.allow", "capabilities.add.1", GRANTS, adding("CHOWN", "SYS_ADMIN"),
    ),
    "all": ("capabilities.allow", "capabilities.add.0", GRANTS, adding("ALL")),
    "device": ("devices.allow", "devices.0.hostPath", GRANTS, device("/dev/dri/by-path/x")),
    "no device": ("devices.allow", "devices.0.hostPath", Policy(), device("/dev/null")),
    "seccomp": (
        "securityOptions.allow", "securityOptions.0", GRANTS, task(security_options=("seccomp=unconfined",)),
    ),
    "ulimit": ("ulimits.allow", "ulimits.rtprio", GRANTS, task(ulimits={"rtprio": Ulimit(soft=1)})),
    "port": ("hostPorts.allow", "ports.0.hostPort", PORTS, task(ports=(PORT_22,))),
}  # fmt: skip

ACCEPTED: dict[str, tuple[Policy, TaskSpec]] = {
    "privileged": (Policy(privileged=True), task(privileged=True)),
    "capability": (GRANTS, adding("NET_ADMIN", "CAP_NET_ADMIN")),
    "capabilities": (
        Policy(capabilities=AllowedByName(allow=("ALL",))), adding("ALL", "BPF"),
    ),
    "one that all have": (Policy(), task(capabilities=Capabilities(add=("CHOWN",), drop=("ALL",)))),
    "device": (GRANTS, device("/dev/dri/card0")),
    "security option": (GRANTS, task(security_options=("apparmor=mine", "no-new-privileges"))),
    "ulimits": (GRANTS, task(ulimits={"nofile": Ulimit(soft=-1), "nice": Ulimit(soft=1)})),
    "image": (allowing(allow=("busybox",)), task()),
    "every image": (allowing(allow=("*",)), task(image="reg.io/a/b")),
    "registry": (REGISTRIES, task(image="Reg.Example:5000/x")),
    "hub": (REGISTRIES, task(image=f"index.{HUB}/library/busybox")),
    "runtime": (Policy(runtimes=Allowed(allow=("process",))), process()),
    "number": (NO_ROOT, task(user="1000")),
    "own user": (NO_ROOT, process()),
    "range": (USERS, task(user="1999:100")),
    "allowed name": (USERS, task(user="app")),
    "read only": (PATHS, bind("/srv/other", read_only=True)),
    "narrower": (PATHS, bind("/srv/data/x")),
    "volume": (Policy(volumes=Allowed(allow=("a-*",))), volume("a-1")),
    "network": (NETWORKS, build_spec(network="team-a")),
    "host network": (Policy(networks=Allowed(allow=("host",))), build_spec(network="host")),
    "port": (PORTS, task(ports=(Port(container_port=1, host_port=8080), Port(container_port=2)))),
}  # fmt: skip


@pytest.mark.parametrize("name", DENIED)
def test_a_denial_names_its_rule(name: str) -> None:
    rule, field, policy, spec = DENIED[name]
    with pytest.raises(PolicyDenied) as denied:
        validate_spec(spec, policy)
    assert denied.value.details == {"rule": rule, "field": field}
    assert denied.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_allowed_is_accepted(name: str) -> None:
    policy, spec = ACCEPTED[name]
    assert validate_spec(spec, policy) is spec


def test_every_container_of_a_pod_is_looked_at() -> None:
    containers = tuple(ContainerSpec(name=name, image=f"{name}:1") for name in ("good", "bad"))
    with pytest.raises(PolicyDenied) as denied:
        validate_spec(build_spec(kind=TaskKind.POD, containers=containers), allowing(allow=("good",)))
    assert denied.value.details == {"rule": "images.allow", "field": "containers.1.image"}


@pytest.mark.parametrize(
    ("pattern", "image", "expected"),
    [
        ("busybox", f"{HUB}/busybox:1", True),
        (f"{HUB}/library/busybox", "busybox", True),
        ("busybox:1.*", "busybox:1.36", True),
        ("busybox:1.*", "busybox", False),
        ("busybox:latest", f"busybox@{DIGEST}", False),
        (f"busybox@{DIGEST}", f"busybox:x@{DIGEST}", True),
        (f"busybox@{DIGEST}", "busybox:x", False),
        ("team/*", "team/a", True),
        ("team/*", "team/a/b", False),
        ("team/**", "team/a/b:9", True),
        ("team/*", "reg.io/team/a", False),
        ("**/team/*", "reg.io/team/a", True),
        ("reg.io:5000/**", "reg.io:5000/a", True),
        ("reg.io/**", "reg.io:5000/a", False),
        ("busy.ox", "busybox", False),
        ("*", "reg.io/a/b", True),
        ("*:latest", "reg.io/a/b", True),
        ("*:latest", "reg.io/a/b:1", False),
        ("podling-*", "podling-busybox:local", True),
    ],
)
def test_a_pattern_knows_an_image_by_every_spelling(pattern: str, image: str, expected: bool) -> None:
    assert is_like_image(pattern, image) is expected


# Limits

LIMITED = Policy(
    limits={
        "default": Limits(priority=0),
        "submitter": Limits(cpu=1000, memory=2**30, priority=5, timeout_seconds=60, max_attempts=3, batch=10),
    }
)
MODEST: dict[str, Any] = {"timeout_seconds": 60, "max_attempts": 3, "priority": 5}


def sized(cpu: int = 1000, memory: int = 2**30, **fields: Any) -> TaskSpec:
    resources = ResourceRequirements(limits={"cpu": cpu, "memory": memory})
    container = ContainerSpec(image="busybox:local", resources=resources)
    return build_spec(**({"containers": (container,)} | MODEST | fields))


@pytest.mark.parametrize(
    ("rule", "spec"),
    [
        ("cpu", sized(cpu=1001)),
        ("memory", sized(memory=2**30 + 1)),
        ("cpu", build_spec(**MODEST)),
        ("priority", sized(priority=6)),
        ("timeoutSeconds", sized(timeout_seconds=61)),
        ("timeoutSeconds", sized(timeout_seconds=None)),
        ("maxAttempts", sized(max_attempts=4)),
    ],
)
def test_a_limit_is_of_the_role_that_submits(rule: str, spec: TaskSpec) -> None:
    with pytest.raises(PolicyDenied) as denied:
        validate_spec(spec, LIMITED, roles=SUBMITTER)
    assert denied.value.details["rule"] == f"limits.submitter.{rule}"
    assert validate_spec(spec, LIMITED) is spec, "a worker keeps no limits"


def test_who_has_more_roles_has_the_limits_of_the_highest() -> None:
    assert validate_spec(sized(), LIMITED, roles=SUBMITTER)
    with pytest.raises(PolicyDenied) as denied:
        validate_spec(sized(), LIMITED, roles=frozenset({Role.SUBMITTER, Role.ADMIN}))
    assert denied.value.details["rule"] == "limits.default.priority"
    assert validate_spec(sized(cpu=10**6, priority=0), LIMITED, roles=frozenset({Role.ADMIN}))


def test_the_containers_of_a_pod_count_together() -> None:
    resources = ResourceRequirements(limits={"cpu": 600, "memory": 2**28})
    containers = tuple(ContainerSpec(name=name, image="x", resources=resources) for name in "ab")
    with pytest.raises(PolicyDenied, match=r"resources\.cpu: 1200 is more"):
        validate_spec(
            build_spec(kind=TaskKind.POD, containers=containers, **MODEST), LIMITED, roles=SUBMITTER
        )


def test_a_batch_has_a_limit_of_its_own() -> None:
    check_batch(10, LIMITED, SUBMITTER)
    check_batch(1000, LIMITED, frozenset({Role.OPERATOR}))
    with pytest.raises(PolicyDenied) as denied:
        check_batch(11, LIMITED, SUBMITTER)
    assert denied.value.details == {"rule": "limits.submitter.batch", "field": "tasks"}
