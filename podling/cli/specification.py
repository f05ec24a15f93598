"""From the flags of `podling run` to the body of a submit."""

from collections.abc import Mapping, Sequence
from typing import Any

from podling.cli.text import parse_duration
from podling.core.errors import InvalidInput
from podling.core.spec import MountType, Operator, PullPolicy, RestartPolicy, Runtime
from podling.core.value import value

_RESTART = {
    "always": RestartPolicy.ALWAYS,
    "on-failure": RestartPolicy.ON_FAILURE,
    "onfailure": RestartPolicy.ON_FAILURE,
    "never": RestartPolicy.NEVER,
    "no": RestartPolicy.NEVER,
}
_PULL = {
    "always": PullPolicy.ALWAYS,
    "missing": PullPolicy.IF_NOT_PRESENT,
    "ifnotpresent": PullPolicy.IF_NOT_PRESENT,
    "never": PullPolicy.NEVER,
}


@value
class Wishes:
    """The flags of `podling run`, as they were given."""

    name: str
    words: Sequence[str] | None = None
    image: str | None = None
    env: Sequence[str] | None = None
    port: Sequence[str] | None = None
    cpu: str | None = None
    memory: str | None = None
    resource: Sequence[str] | None = None
    label: Sequence[str] | None = None
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: str | None = None
    volume: Sequence[str] | None = None
    tmpfs: Sequence[str] | None = None
    workdir: str | None = None
    user: str | None = None
    entrypoint: str | None = None
    network: str | None = None
    runtime: str | None = None
    node_selector: Sequence[str] | None = None
    constraint: Sequence[str] | None = None
    pull: str | None = None
    restart: str | None = None
    init: bool = False
    stop_signal: str | None = None


def specification(wishes: Wishes) -> dict[str, Any]:
    """Return the body, with nothing in it that was not asked for. Raises InvalidInput."""
    spec = {
        "name": wishes.name,
        **_program(wishes),
        "env": pairs("-e", wishes.env),
        "ports": [_port(text) for text in wishes.port or ()],
        "resources": _resources(wishes),
        "labels": pairs("--label", wishes.label),
        "queue": wishes.queue,
        "priority": wishes.priority,
        "maxAttempts": wishes.max_attempts,
        "timeoutSeconds": None if wishes.timeout is None else parse_duration(wishes.timeout, "--timeout"),
        "mounts": [_mount(text) for text in wishes.volume or ()],
        "tmpfs": dict(_tmpfs(text) for text in wishes.tmpfs or ()),
        "workingDir": wishes.workdir,
        "user": wishes.user,
        "network": wishes.network,
        "placement": _placement(wishes),
        "pullPolicy": _choice("--pull", wishes.pull, _PULL),
        "restartPolicy": _choice("--restart", wishes.restart, _RESTART),
        "init": wishes.init or None,
        "stopSignal": wishes.stop_signal,
    }
    return {name: item for name, item in spec.items() if item is not None and item not in ({}, [])}


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Read `K=V` of a repeatable option. Raises InvalidInput that names it."""
    return dict(_pair(option, text) for text in texts or ())


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, given = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{option}: {text!r} is not NAME=VALUE")
    return name, given


def _program(wishes: Wishes) -> dict[str, Any]:
    """What runs: in a container the words are the image's arguments, elsewhere the command itself."""
    words = list(wishes.words or ())
    if wishes.runtime not in (None, Runtime.DOCKER):
        return {"runtime": wishes.runtime, "image": wishes.image, "command": words}
    image = wishes.image or (words.pop(0) if words else None)
    if not image:
        raise InvalidInput("say which image to run: -i IMAGE, or the first word after the name")
    command = None if wishes.entrypoint is None else [wishes.entrypoint]
    return {"runtime": wishes.runtime, "image": image, "command": command, "args": words}


def _port(text: str) -> dict[str, Any]:
    ports, _, protocol = text.partition("/")
    host, colon, container = ports.rpartition(":")
    given = {"containerPort": _number(text, container), "hostPort": _number(text, host) if colon else 0}
    return given | ({"protocol": protocol.upper()} if protocol else {})


def _number(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
        raise InvalidInput(f"-p: {text!r} is not HOST:CONTAINER, such as 8080:80 or 53:53/udp")
    return int(digits)


def _resources(wishes: Wishes) -> dict[str, Any]:
    limits = {"cpu": wishes.cpu, "memory": wishes.memory}
    limits = {name: amount for name, amount in limits.items() if amount is not None}
    requests = limits | pairs("--resource", wishes.resource)
    sections = {"requests": requests, "limits": limits}
    return {name: amounts for name, amounts in sections.items() if amounts}


def _mount(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1] or parts[2:] not in ([], ["ro"], ["rw"]):
        raise InvalidInput(f"--volume: {text!r} is not SOURCE:TARGET or SOURCE:TARGET:ro")
    kind = MountType.BIND if parts[0].startswith("/") else MountType.VOLUME
    return {"type": str(kind), "source": parts[0], "target": parts[1], "readOnly": parts[2:] == ["ro"]}


def _tmpfs(text: str) -> tuple[str, str]:
    path, _, options = text.partition(":")
    return path, options


def _placement(wishes: Wishes) -> dict[str, Any]:
    placement = {
        "nodeSelector": pairs("--node-selector", wishes.node_selector),
        "constraints": [_constraint(text) for text in wishes.constraint or ()],
    }
    return {name: item for name, item in placement.items() if item}


def _constraint(text: str) -> dict[str, Any]:
    label, equals, values = text.partition("=")
    if not equals:
        operator = Operator.DOES_NOT_EXIST if text.startswith("!") else Operator.EXISTS
        return _rule(text, text.removeprefix("!"), operator, [])
    operator = Operator.NOT_IN if label.endswith("!") else Operator.IN
    return _rule(text, label.removesuffix("!"), operator, values.removeprefix("=").split(","))


def _rule(text: str, label: str, operator: Operator, values: list[str]) -> dict[str, Any]:
    if not label or "" in values:
        raise InvalidInput(f"--constraint: {text!r} is none of K=A,B, K!=A,B, K and !K")
    return {"label": label, "operator": str(operator), "values": values}


def _choice(option: str, text: str | None, choices: Mapping[str, str]) -> str | None:
    if text is None:
        return None
    chosen = choices.get(text.lower())
    if chosen is None:
        raise InvalidInput(f"{option}: {text!r} is none of {', '.join(choices)}")
    return str(chosen)
