"""A policy's file says what is wrong with it, line by line."""

import pytest

from podling.core.errors import ConfigurationError
from podling.core.permissions import AllowedUsers, HostPath, Limits, Policy
from podling.wire.codec import encode
from podling.wire.policy import examine_policy, policy_view, read_policy


def told(text: str) -> list[str]:
    policy, faults = examine_policy(text)
    assert (policy is None) == bool(faults)
    return [fault.sentence() for fault in faults]


def test_an_empty_file_is_the_default() -> None:
    assert read_policy("") == read_policy("# nothing yet\n") == Policy()


def test_a_file_is_read_as_people_write_it() -> None:
    policy = read_policy(
        """
        users: {allow: [1000, 2000-2999, app], root: false}
        hostPaths:
          - path: /srv/data
            readOnly: true
        limits:
          submitter: {cpu: 2, memory: 512Mi, priority: 10, timeoutSeconds: 3600, maxAttempts: 5, batch: 100}
          admin: {cpu: 500m}
        """
    )
    assert policy.users == AllowedUsers(allow=("1000", "2000-2999", "app"), root=False)
    assert policy.host_paths == (HostPath(path="/srv/data", read_only=True),)
    assert policy.limits["submitter"] == Limits(
        cpu=2000, memory=2**29, priority=10, timeout_seconds=3600, max_attempts=5, batch=100
    )
    assert policy.limits["admin"].cpu == 500


def test_what_is_shown_can_be_written_into_a_file_again() -> None:
    policy = read_policy("limits: {default: {cpu: 2, memory: 1Gi}}\nhostPorts: {allow: [80, 8000-8999]}")
    assert read_policy(encode(policy_view(policy)).decode()) == policy


def test_every_fault_is_told_with_its_line_and_path() -> None:
    assert told(
        "images:\n  alow: [a]\n  allow: x\nregistries: 3\nhostPaths:\n  - /srv/x\n  - path: 3\n"
        "  - readOnly: true\nlimits:\n  submitter: {cpuu: 1}\nusers: {root: maybe}\n"
    ) == [
        "line 2: images.alow: there is no such rule; known are allow, deny",
        "line 3: images.allow: must be a list",
        "line 4: registries: must be a mapping",
        "line 6: hostPaths.0: must be a mapping",
        "line 7: hostPaths.1.path: must be a text",
        "line 8: hostPaths.2.path: is required",
        "line 10: limits.submitter.cpuu: there is no such rule; known are "
        "cpu, memory, priority, timeoutSeconds, maxAttempts, batch",
        "line 11: users.root: must be true or false",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hostPid: true", "line 1: hostPid: no task can ask for that in this version"),
        ("capabilities: {allow: [NET_ADMN]}", "line 1: capabilities.allow.0: 'NET_ADMN' is no capability"),
        ("devices: {allow: [dri]}", "line 1: devices.allow.0: 'dri' must be an absolute path"),
        ("securityOptions: {allow: ['a b']}", "line 1: securityOptions.allow.0: 'a b' is no option"),
        ("ulimits: {allow: [nofile]}", "line 1: ulimits.allow.0: 'nofile' is not one of nice, rtprio"),
        ("runtimes: {allow: [doker]}", "line 1: runtimes.allow.0: 'doker' is not one of docker, process"),
        ("hostPorts: {allow: [0]}", "line 1: hostPorts.allow.0: '0' is no port"),
        ("hostPorts: {allow: [9-1]}", "line 1: hostPorts.allow.0: '9-1' is no port"),
        ("users: {groups: [a b]}", "line 1: users.groups.0: 'a b' is no name, number or range"),
        ("networks: {allow: ['a b']}", "line 1: networks.allow.0: 'a b' is no pattern"),
        ("hostPaths: [{path: /}]", "line 1: hostPaths.0.path: / of the node is never mounted"),
        ("hostPaths: [{path: /proc/x}]", "line 1: hostPaths.0.path: /proc/x of the node is never"),
        ("hostPaths: [{path: /var/run}]", "line 1: hostPaths.0.path: /var/run holds the engine's socket"),
        ("hostPaths: [{path: data}]", "line 1: hostPaths.0.path: 'data' must be an absolute path"),
        ("hostPaths: [{path: /a}, {path: /a/}]", "line 1: hostPaths.1.path: /a is there twice"),
        ("limits: {worker: {}}", "line 1: limits.worker: is no role that may submit"),
        ("limits: {admin: {cpu: 5000}}", "line 1: limits.admin.cpu: must be at least 1 and at most"),
        ("limits: {admin: {memory: 1Xi}}", "line 1: limits.admin.memory: '1Xi' is not an amount of memory"),
        ("limits: {admin: {batch: 1.5}}", "line 1: limits.admin.batch: must be a whole number"),
        ("images: {allow: [a]}\nimages: {allow: [b]}", "line 2: images: is given twice"),
        ("images: {allow: [*any]}", "line 1: it is no YAML: anchors and references"),
        ("images: &a {}", "line 1: it is no YAML: anchors and references"),
        ("images: !!python/object:os.system x", "line 1: images: 'x' cannot be read"),
        ("images: 2020-01-01", "line 1: images: '2020-01-01' is neither text nor a number"),
        ("[]", "it must be a mapping of rules"),
        ("a: {b", "line 1: it is no YAML"),
        ("\0", "line 1: it is no YAML"),
        ("a: " + "[" * 50_000, "line 1: it is no YAML: it is nested too deeply"),
        ("#" * 300_000, "it is longer than"),
        ("images: {allow: [" + "a," * 1001 + "]}", "line 1: images.allow: must have at most 1000"),
        ("limits: {admin: {priority: 9" + "9" * 400 + "}}", "line 1: limits.admin.priority: is larger"),
    ],
)  # fmt: skip
def test_a_fault_is_a_sentence(text: str, sentence: str) -> None:
    first, *_ = told(text)
    assert first.startswith(sentence)


def test_all_faults_are_raised_together() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_policy("a: 1\nb: 2\n")
    assert refused.value.details["faults"] == told("a: 1\nb: 2\n")
    assert all(fault in refused.value.message for fault in told("a: 1\nb: 2\n"))
