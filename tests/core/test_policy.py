"""Everything that a submit may get wrong is refused by the name of its field."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.core.errors import InvalidInput, PodlingError, PolicyDenied
from podling.core.permissions import Allowed, HostPath
from podling.core.policy import Policy, validate_spec
from podling.core.spec import (
    Affinity,
    Capabilities,
    Constraint,
    ContainerSpec,
    Delivery,
    Device,
    Logging,
    Mount,
    MountType,
    OnDisconnect,
    OnLost,
    Operator,
    Port,
    ResourceRequirements,
    RestartPolicy,
    RetryPolicy,
    Runtime,
    TaskSpec,
    Ulimit,
)
from tests.builders import build_spec
from tests.core.specs import MIB, container, devices, mount, placed, pod, process, requests, with_container

TEN_YEARS = 3653 * 86400.0

REFUSED: Mapping[str, tuple[str, TaskSpec]] = {
    "name empty": ("name", build_spec(name="")),
    "name blank": ("name", build_spec(name=" \u3000")),
    "name long": ("name", build_spec(name="n" * 254)),
    "name control": ("name", build_spec(name="a\x07b")),
    "name newline": ("name", build_spec(name="a\nb")),
    "name bidi": ("name", build_spec(name="a\u202eb")),
    "name surrogate": ("name", build_spec(name="a\ud800b")),
    "queue": ("queue", build_spec(queue="../x")),
    "queue empty": ("queue", build_spec(queue="")),
    "priority": ("priority", build_spec(priority=2**31)),
    "priority low": ("priority", build_spec(priority=-(2**31) - 1)),
    "key empty": ("idempotencyKey", build_spec(idempotency_key="")),
    "key long": ("idempotencyKey", build_spec(idempotency_key="k" * 256)),
    "label key": ("labels", build_spec(labels={"a b": "c"})),
    "label empty key": ("labels", build_spec(labels={"": "c"})),
    "label podling": ("labels", build_spec(labels={"podling.io/x": "c"})),
    "label podling dot": ("labels", build_spec(labels={"podling.task": "c"})),
    "label below podling.io": ("labels", build_spec(labels={"a.podling.io/x": "c"})),
    "label value": ("labels.a", build_spec(labels={"a": "b\x00"})),
    "labels many": ("labels", build_spec(labels={f"k{i}": "v" for i in range(101)})),
    "timeout 0": ("timeoutSeconds", build_spec(timeout_seconds=0)),
    "timeout -1": ("timeoutSeconds", build_spec(timeout_seconds=-1)),
    "timeout 1e18": ("timeoutSeconds", build_spec(timeout_seconds=1e18)),
    "timeout nan": ("timeoutSeconds", build_spec(timeout_seconds=float("nan"))),
    "queue timeout": ("queueTimeoutSeconds", build_spec(queue_timeout_seconds=TEN_YEARS + 1)),
    "deadline": ("deadlineSeconds", build_spec(deadline_seconds=0)),
    "runAt naive": ("runAt", build_spec(run_at=datetime(2026, 1, 1))),  # noqa: DTZ001
    "runAt 1969": ("runAt", build_spec(run_at=datetime(1969, 12, 31, tzinfo=UTC))),
    "runAt 10000": (
        "runAt",
        build_spec(run_at=datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1)))),
    ),
    "attempts 0": ("maxAttempts", build_spec(max_attempts=0)),
    "attempts -1": ("maxAttempts", build_spec(max_attempts=-1)),
    "attempts 2^31": ("maxAttempts", build_spec(max_attempts=2**31)),
    "losses -1": ("maxLosses", build_spec(max_losses=-1)),
    "losses 1001": ("maxLosses", build_spec(max_losses=1001)),
    "retry base": ("retry.baseSeconds", build_spec(retry=RetryPolicy(base_seconds=-1))),
    "retry factor": ("retry.factor", build_spec(retry=RetryPolicy(factor=0.5))),
    "retry max": ("retry.maxSeconds", build_spec(retry=RetryPolicy(max_seconds=1e18))),
    "retry jitter": ("retry.jitter", build_spec(retry=RetryPolicy(jitter=1.1))),
    "retry on": ("retry.on", build_spec(retry=RetryPolicy(on=("EXIT",)))),
    "retry not on": ("retry.notOn", build_spec(retry=RetryPolicy(not_on=("exit:256",)))),
    "keep and retry": ("onDisconnect", build_spec(on_disconnect=OnDisconnect.KEEP)),
    "once and restart": (
        "restartPolicy",
        build_spec(delivery=Delivery.AT_MOST_ONCE, restart_policy=RestartPolicy.ALWAYS),
    ),
    "network": ("network", build_spec(network="a b")),
    "network empty": ("network", build_spec(network="")),
    "simulated": ("runtime", build_spec(runtime=Runtime.SIMULATED)),
    "no container": ("containers", build_spec(containers=())),
    "task of two": ("containers", build_spec(containers=(container(), container(name="b")))),
    "pod of none": ("containers", pod()),
    "pod names": ("containers.1.name", pod(container(name="a"), container(name="a"))),
    "pod name": ("containers.0.name", pod(container(name="a/b"))),
    "pod image": ("containers.1.image", pod(container(), container(name="b", image=None))),
    "pod process": ("runtime", replace(pod(container()), runtime=Runtime.PROCESS)),
    "image missing": ("image", with_container(image=None)),
    "env =": ("env", with_container(env={"A=B": "c"})),
    "env empty": ("env", with_container(env={"": "c"})),
    "env NUL": ("env", with_container(env={"A\0": "c"})),
    "env value NUL": ("env.A", with_container(env={"A": "\0"})),
    "env long": ("env.A", with_container(env={"A": "x" * 131072})),
    "command NUL": ("command", with_container(command=("a\0b",))),
    "command empty": ("command", with_container(command=("",))),
    "args surrogate": ("args", with_container(args=("\udfff",))),
    "cpu 0": ("resources.requests.cpu", requests(cpu=0)),
    "cpu -1": ("resources.requests.cpu", requests(cpu=-1)),
    "cpu 1e9": ("resources.requests.cpu", requests(cpu=10**9)),
    "memory 1": ("resources.requests.memory", requests(memory=1)),
    "memory 2^63": ("resources.requests.memory", requests(memory=2**63)),
    "memory 5Mi": ("resources.requests.memory", requests(memory=6 * MIB - 1)),
    "gpu -1": ("resources.requests.gpu", requests(gpu=-1)),
    "slots": ("resources.requests.slots", requests(slots=2)),
    "resource name": ("resources.requests", requests(**{"a b": 1})),
    "limit": (
        "resources.limits.cpu",
        with_container(resources=ResourceRequirements(requests={"cpu": 2}, limits={"cpu": 1})),
    ),
    "gpus": (
        "resources.limits.gpu",
        with_container(resources=ResourceRequirements(requests={"gpu": 1}, limits={"gpu": 2})),
    ),
    "port 0": ("ports.0.containerPort", with_container(ports=(Port(container_port=0),))),
    "port 70000": ("ports.0.containerPort", with_container(ports=(Port(container_port=70000),))),
    "host port": ("ports.0.hostPort", with_container(ports=(Port(container_port=1, host_port=-1),))),
    "protocol": ("ports.0.protocol", with_container(ports=(Port(container_port=1, protocol="tcp"),))),
    "port name": ("ports.0.name", with_container(ports=(Port(container_port=1, name=""),))),
    "ports doubled": (
        "ports.1.containerPort",
        with_container(ports=(Port(container_port=1), Port(container_port=1))),
    ),
    "host ports doubled": (
        "ports.1.hostPort",
        with_container(ports=(Port(container_port=1, host_port=80), Port(container_port=2, host_port=80))),
    ),
    "pod ports doubled": (
        "containers.1.ports.0.containerPort",
        pod(
            container(ports=(Port(container_port=80),)), container(name="b", ports=(Port(container_port=80),))
        ),
    ),
    "user": ("user", with_container(user="a b")),
    "user number": ("user", with_container(user="2147483648")),
    "workingDir": ("workingDir", with_container(working_dir="tmp")),
    "workingDir ..": ("workingDir", with_container(working_dir="/a/../b")),
    "signal": ("stopSignal", with_container(stop_signal="SIGNONE")),
    "signal 65": ("stopSignal", with_container(stop_signal="65")),
    "grace -1": ("stopGraceSeconds", with_container(stop_grace_seconds=-1)),
    "grace 3601": ("stopGraceSeconds", with_container(stop_grace_seconds=3601)),
    "mount relative": ("mounts.0.target", mount(target="data")),
    "mount ..": ("mounts.0.target", mount(target="/a/../..")),
    "mount root": ("mounts.0.target", mount(target="//.")),
    "mount colon": ("mounts.0.target", mount(target="/a:/b")),
    "mount doubled": (
        "mounts.1.target",
        with_container(
            mounts=tuple(Mount(type=MountType.VOLUME, source="a1", target=target) for target in ("/a", "/a/"))
        ),
    ),
    "volume name": ("mounts.0.source", mount(source="/etc")),
    "volume without": ("mounts.0.source", mount(source=None)),
    "tmpfs source": ("mounts.0.source", mount(MountType.TMPFS)),
    "tmpfs": ("tmpfs", with_container(tmpfs={"tmp": ""})),
    "tmpfs option": ("tmpfs./tmp", with_container(tmpfs={"/tmp": "size=1g,bind"})),
    "platform": ("platform", with_container(platform="x86_64")),
    "platform's machine": ("platform", with_container(platform="linux/x86_64")),
    "capability": ("capabilities.add.0", with_container(capabilities=Capabilities(add=("net_admin",)))),
    "dropped": ("capabilities.drop.0", with_container(capabilities=Capabilities(drop=("EVERYTHING",)))),
    "security": ("securityOptions.0", with_container(security_options=("no-new-privileges:false",))),
    "profile": ("securityOptions.0", with_container(security_options=("seccomp=/etc/shadow",))),
    "device": ("devices.0.hostPath", devices(Device(host_path="null"))),
    "device ..": ("devices.0.containerPath", devices(Device(host_path="/dev/a", container_path="/../b"))),
    "permissions": ("devices.0.permissions", devices(Device(host_path="/dev/a", permissions="rr"))),
    "devices doubled": ("devices.1.containerPath", devices(Device(host_path="/a"), Device(host_path="/a"))),
    "ulimit": ("ulimits", with_container(ulimits={"files": Ulimit(soft=1)})),
    "ulimit -2": ("ulimits.nofile.soft", with_container(ulimits={"nofile": Ulimit(soft=-2)})),
    "soft": ("ulimits.nofile.soft", with_container(ulimits={"nofile": Ulimit(soft=2, hard=1)})),
    "soft -1": ("ulimits.nofile.soft", with_container(ulimits={"nofile": Ulimit(soft=-1, hard=1)})),
    "shm": ("shmSize", with_container(shm_size=1)),
    "hostname": ("hostname", with_container(hostname="a.b")),
    "host": ("extraHosts", with_container(extra_hosts={"a b": "10.0.0.1"})),
    "host's address": ("extraHosts.db", with_container(extra_hosts={"db": "localhost"})),
    "dns": ("dns.0", with_container(dns=("ns.example",))),
    "search": ("dnsSearch.0", with_container(dns_search=("a b",))),
    "dns option": ("dnsOptions.0", with_container(dns_options=("ndots:2\nnameserver 1",))),
    "log size": ("logging.maxSize", with_container(logging=Logging(max_size=1))),
    "log files": ("logging.maxFiles", with_container(logging=Logging(max_files=1))),
    "process logging": ("logging", process(logging=Logging())),
    "process devices": ("devices", process(devices=(Device(host_path="/dev/null"),))),
    "process root": ("readOnlyRoot", process(read_only_root=True)),
    "selector": ("placement.nodeSelector", placed(node_selector={"a b": "c"})),
    "constraint": ("placement.constraints.0.label", placed(constraints=(Constraint(label=""),))),
    "constraint in": ("placement.constraints.0.values", placed(constraints=(Constraint(label="a"),))),
    "constraint exists": (
        "placement.constraints.0.values",
        placed(constraints=(Constraint(label="a", operator=Operator.EXISTS, values=("b",)),)),
    ),
    "affinity": (
        "placement.affinity.0.weight",
        placed(affinity=(Affinity(label="a", values=("b",), weight=101),)),
    ),
    "affinity 0": (
        "placement.affinity.0.weight",
        placed(affinity=(Affinity(label="a", values=("b",), weight=0),)),
    ),
    "spread": ("placement.spread", placed(spread="a b")),
    "process without": ("command", process(command=())),
    "process image": ("image", process(image="busybox")),
    "process ports": ("ports", process(ports=(Port(container_port=80),))),
    "process mounts": ("mounts", process(mounts=(Mount(type=MountType.TMPFS, target="/t"),))),
    "process tmpfs": ("tmpfs", process(tmpfs={"/t": ""})),
    "process init": ("init", process(init=True)),
    "process limits": (
        "resources.limits",
        process(resources=ResourceRequirements(requests={"memory": 2**23}, limits={"memory": 2**23})),
    ),
    "process network": ("network", replace(process(), network="none")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_field_is_refused_by_its_name(name: str) -> None:
    field, spec = REFUSED[name]
    with pytest.raises(InvalidInput) as refused:
        validate_spec(spec)
    assert refused.value.code == "invalid_field"
    assert refused.value.details == {"field": field}
    assert refused.value.message.startswith(f"{field}: ")


DENIED: Mapping[str, tuple[str, str, TaskSpec]] = {
    "host": ("networks.allow", "network", build_spec(network="host")),
    "container": ("never.containerNetwork", "network", build_spec(network="container:abc")),
    "bind": ("hostPaths", "mounts.0.source", mount(MountType.BIND, source="/srv/data")),
    "bind root": ("never.kernelPaths", "mounts.0.source", mount(MountType.BIND, source="/")),
    "bind run": ("never.engineSocket", "mounts.0.source", mount(MountType.BIND, source="/run/")),
    "socket": ("never.engineSocket", "mounts.0.target", mount(target="/var/run/docker.sock")),
    "proc": ("never.kernelPaths", "mounts.0.target", mount(target="/proc/sys")),
    "tmpfs": ("never.kernelPaths", "tmpfs", with_container(tmpfs={"/sys": ""})),
}


@pytest.mark.parametrize("name", DENIED)
def test_what_an_operator_has_to_allow_is_denied(name: str) -> None:
    rule, field, spec = DENIED[name]
    with pytest.raises(PolicyDenied) as denied:
        validate_spec(spec)
    assert denied.value.code == "policy_denied"
    assert denied.value.details == {"rule": rule, "field": field}


def test_an_operator_may_allow_the_hosts_network_and_directories() -> None:
    policy = Policy(host_paths=(HostPath(path="/srv/data"),), networks=Allowed(allow=("host", "*")))
    validate_spec(build_spec(network="host"), policy)
    validate_spec(mount(MountType.BIND, source="/srv/data/a/"), policy)
    with pytest.raises(PolicyDenied):
        validate_spec(build_spec(network="container:abc"), policy)


@pytest.mark.parametrize("path", ["/srv/database", "/srv", "/proc", "/", "/var/run/docker.sock", "/dev/sda"])
def test_only_the_allowed_directory_may_be_mounted_and_never_the_engines(path: str) -> None:
    everything = ("/srv/data", "/proc", "/", "/dev", "/var/run")
    policy = Policy(host_paths=tuple(HostPath(path=path) for path in everything))
    only = Policy(host_paths=(HostPath(path="/srv/data"),))
    with pytest.raises(PolicyDenied):
        validate_spec(mount(MountType.BIND, source=path), only)
    if not path.startswith("/srv"):
        with pytest.raises(PolicyDenied):
            validate_spec(mount(MountType.BIND, source=path), policy)


ACCEPTED = {
    "plain": build_spec(),
    "process requests": process(resources=ResourceRequirements(requests={"cpu": 500, "memory": 2**23})),
    "process": process(args=("",), working_dir="/tmp", user="1000:1000"),
    "pod": pod(container(name="a"), container(name="b")),
    "simulated pod": replace(pod(ContainerSpec()), runtime=Runtime.SIMULATED),
    "all resources": with_container(
        resources=ResourceRequirements(
            requests={"cpu": 1, "memory": 6 * MIB, "nvidia.com/gpu": 1},
            limits={"cpu": 10**6, "memory": 2**53},
        )
    ),
    "ports": with_container(
        ports=(
            Port(container_port=53, host_port=53, name="dns"),
            Port(container_port=53, host_port=53, protocol="UDP"),
            Port(container_port=54),
            Port(container_port=55),
        )
    ),
    "mounts": with_container(
        mounts=(
            Mount(type=MountType.VOLUME, source="data", target="/data"),
            Mount(type=MountType.TMPFS, target="/cache"),
        ),
        tmpfs={"/tmp": "rw,size=64m,mode=1777", "/run": ""},
    ),
    "signals": with_container(stop_signal="SIGRTMIN+3"),
    "options": with_container(
        platform="linux/arm64/v8",
        read_only_root=True,
        capabilities=Capabilities(add=("CAP_CHOWN",), drop=("ALL",)),
        security_options=("no-new-privileges",),
        ulimits={"nofile": Ulimit(soft=1024, hard=-1), "core": Ulimit(soft=0)},
        shm_size=64 * MIB,
        hostname="web-1",
        extra_hosts={"db.internal": "10.0.0.5", "six": "::1", "node": "host-gateway"},
        dns=("10.0.0.1", "fd00::1"),
        dns_search=(".", "example.org"),
        dns_options=("ndots:2", "rotate"),
        logging=Logging(max_size=MIB, max_files=2),
    ),
    "signal number": with_container(stop_signal="9"),
    "keep": build_spec(on_disconnect=OnDisconnect.KEEP, on_lost=OnLost.HOLD),
    "restart": build_spec(restart_policy=RestartPolicy.ALWAYS, max_attempts=5),
    "past": build_spec(run_at=datetime(1970, 1, 1, tzinfo=UTC)),
    "far": build_spec(run_at=datetime(9999, 12, 31, tzinfo=UTC), timeout_seconds=TEN_YEARS),
    "placement": placed(
        node_selector={"zone": "eu"},
        constraints=(Constraint(label="gpu", operator=Operator.EXISTS),),
        affinity=(Affinity(label="disk", values=("ssd",), weight=-100),),
        spread="podling.io/zone",
    ),
    "names": build_spec(name="Tâche n° 1", labels={"example.com/a": "", "b": "x y"}, queue="mail:eu"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_can_be_meant_is_accepted_as_it_is(name: str) -> None:
    spec = ACCEPTED[name]
    assert validate_spec(spec, allow_simulated=True) is spec


texts = st.text(max_size=20)


@given(
    name=texts,
    image=texts,
    queue=texts,
    key=texts,
    text=texts,
    target=texts,
    user=texts,
    signal=texts,
    number=st.integers(),
    seconds=st.floats(),
)
def test_nothing_raises_but_the_typed_refusal(
    name: str,
    image: str,
    queue: str,
    key: str,
    text: str,
    target: str,
    user: str,
    signal: str,
    number: int,
    seconds: float,
) -> None:
    checks = [
        build_spec(name=name, queue=queue, labels={key: text}),
        build_spec(timeout_seconds=seconds, priority=number, max_attempts=number),
        with_container(image=image, env={key: text}, user=user, stop_signal=signal),
        with_container(tmpfs={target: text}, working_dir=target),
        mount(MountType.BIND, target=target, source=text),
        requests(**{key: number}),
        placed(constraints=(Constraint(label=key, values=(text,)),), spread=key),
    ]
    for spec in checks:
        try:
            assert validate_spec(spec) is spec
        except PodlingError as error:
            assert isinstance(error, InvalidInput | PolicyDenied)
            assert error.details["field"]


def test_a_simulated_task_keeps_the_variables_that_steer_it() -> None:
    simulated = replace(
        build_spec(containers=(ContainerSpec(env={"PODLING_SIMULATE_SECONDS": "1"}),)),
        runtime=Runtime.SIMULATED,
    )
    assert validate_spec(simulated, allow_simulated=True) is simulated
    with pytest.raises(InvalidInput, match="given by Podling itself"):
        validate_spec(with_container(env={"PODLING_TOKEN": "x"}))
