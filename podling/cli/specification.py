"""From the flags of `podling run`, and the file of --spec, to the body of a submit."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podling.cli import container_options as options
from podling.cli.flags import choice, given_only, pairs
from podling.cli.placement import placement
from podling.cli.text import parse_duration, parse_moment
from podling.core.errors import InvalidInput
from podling.core.spec import (
    Delivery,
    MountType,
    OnDisconnect,
    OnLost,
    PullPolicy,
    RestartPolicy,
    Runtime,
    When,
)
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
_DELIVERY = {
    "at-least-once": Delivery.AT_LEAST_ONCE,
    "at_least_once": Delivery.AT_LEAST_ONCE,
    "at-most-once": Delivery.AT_MOST_ONCE,
    "at_most_once": Delivery.AT_MOST_ONCE,
}
_WHEN = {str(when): when for when in When}
_ON_LOST = {str(kind): kind for kind in OnLost}
_ON_DISCONNECT = {str(kind): kind for kind in OnDisconnect}


@value
class Wishes:
    """The flags of `podling run`, as they were given."""

    name: str | None = None
    words: Sequence[str] | None = None
    image: str | None = None
    env: Sequence[str] | None = None
    port: Sequence[str] | None = None
    cpu: str | None = None
    memory: str | None = None
    resource: Sequence[str] | None = None
    gpus: int | None = None
    label: Sequence[str] | None = None
    queue: str | None = None
    concurrency_key: str | None = None
    after: Sequence[str] | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: str | None = None
    queue_timeout: str | None = None
    deadline: str | None = None
    run_at: str | None = None
    retry_base: str | None = None
    retry_on: str | None = None
    retry_not_on: str | None = None
    delivery: str | None = None
    on_lost: str | None = None
    on_disconnect: str | None = None
    max_losses: int | None = None
    volume: Sequence[str] | None = None
    tmpfs: Sequence[str] | None = None
    workdir: str | None = None
    user: str | None = None
    entrypoint: str | None = None
    network: str | None = None
    runtime: str | None = None
    handler: str | None = None
    payload: str | None = None
    statement: str | None = None
    parameter: Sequence[str] | None = None
    database: str | None = None
    node_selector: Sequence[str] | None = None
    constraint: Sequence[str] | None = None
    affinity: Sequence[str] | None = None
    spread: str | None = None
    strategy: str | None = None
    pull: str | None = None
    platform: str | None = None
    restart: str | None = None
    init: bool = False
    stop_signal: str | None = None
    stop_grace: str | None = None
    read_only: bool = False
    privileged: bool = False
    cap_add: Sequence[str] | None = None
    cap_drop: Sequence[str] | None = None
    security_opt: Sequence[str] | None = None
    device: Sequence[str] | None = None
    ulimit: Sequence[str] | None = None
    shm_size: str | None = None
    hostname: str | None = None
    add_host: Sequence[str] | None = None
    dns: Sequence[str] | None = None
    dns_search: Sequence[str] | None = None
    dns_option: Sequence[str] | None = None
    log_max_size: str | None = None
    log_max_files: int | None = None
    idempotency_key: str | None = None
    alert: Sequence[str] | None = None


def read_spec(path: str) -> dict[str, Any]:
    """Read the JSON object of --spec; `-` is standard input. Raises InvalidInput."""
    import json

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        spec = json.loads(text)
    except OSError as error:
        raise InvalidInput(f"--spec: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"--spec: {path} is not JSON: {error}") from None
    if not isinstance(spec, dict):
        raise InvalidInput(f'--spec: {path} holds no JSON object, such as {{"image": "busybox"}}')
    return spec


def specification(wishes: Wishes, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body: `base` (of --spec) with what the flags ask for put over it.

    An object such as `env` is put over the base's key by key, a list replaces it. Nothing is in the
    body that neither asked for. Raises InvalidInput.
    """
    body = put_over(base or {}, {**_program(wishes, base), **_flags(wishes, base)})
    if wishes.payload is not None:
        body["payload"] = _payload(wishes.payload)  # whole, and also if it is empty
    if wishes.parameter:
        body["parameters"] = [_parameter(text) for text in wishes.parameter]
    if not body.get("name"):
        body["name"] = body.get("handler")
    if not body["name"]:
        raise InvalidInput("say what to call the task: NAME, or a name in the file of --spec")
    return body


def put_over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with what is given in its place; what is None or empty is not given."""
    merged = dict(base)
    for name, item in given.items():
        if isinstance(item, dict) and isinstance(base.get(name), dict):
            merged[name] = put_over(base[name], item)
        elif item is not None and item not in ({}, []):
            merged[name] = item
    return merged


def _flags(wishes: Wishes, base: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "name": wishes.name,
        "env": pairs("-e", wishes.env),
        "ports": [_port(text) for text in wishes.port or ()],
        "resources": _resources(wishes, base),
        "labels": pairs("--label", wishes.label),
        "queue": wishes.queue,
        "concurrencyKey": wishes.concurrency_key,
        "dependsOn": [_parent(text) for text in wishes.after or ()],
        "priority": wishes.priority,
        "maxAttempts": wishes.max_attempts,
        "timeoutSeconds": _seconds("--timeout", wishes.timeout),
        "queueTimeoutSeconds": _seconds("--queue-timeout", wishes.queue_timeout),
        "deadlineSeconds": _seconds("--deadline", wishes.deadline),
        "runAt": None
        if wishes.run_at is None
        else parse_moment(wishes.run_at, "--run-at", datetime.now(UTC)),
        "retry": _retry(wishes),
        "delivery": choice("--delivery", wishes.delivery, _DELIVERY),
        "onLost": choice("--on-lost", wishes.on_lost, _ON_LOST),
        "onDisconnect": choice("--on-disconnect", wishes.on_disconnect, _ON_DISCONNECT),
        "maxLosses": wishes.max_losses,
        "mounts": [_mount(text) for text in wishes.volume or ()],
        "tmpfs": dict(_tmpfs(text) for text in wishes.tmpfs or ()),
        "workingDir": wishes.workdir,
        "user": wishes.user,
        "network": wishes.network,
        "database": wishes.database,
        "placement": placement(
            selector=pairs("--node-selector", wishes.node_selector),
            constraints=wishes.constraint or (),
            affinity=wishes.affinity or (),
            spread=wishes.spread,
            strategy=wishes.strategy,
        ),
        "pullPolicy": choice("--pull", wishes.pull, _PULL),
        "platform": wishes.platform,
        "restartPolicy": choice("--restart", wishes.restart, _RESTART),
        "init": wishes.init or None,
        "stopSignal": wishes.stop_signal,
        "stopGraceSeconds": _seconds("--stop-grace", wishes.stop_grace),
        "idempotencyKey": wishes.idempotency_key,
        "alerts": list(wishes.alert or ()),
        **_options(wishes),
    }


def _options(wishes: Wishes) -> dict[str, Any]:
    return {
        "readOnlyRoot": wishes.read_only or None,
        "privileged": wishes.privileged or None,
        "capabilities": given_only(options.capabilities(wishes.cap_add, wishes.cap_drop)),
        "securityOptions": list(wishes.security_opt or ()),
        "devices": [options.device(text) for text in wishes.device or ()],
        "ulimits": dict(options.ulimit(text) for text in wishes.ulimit or ()),
        "shmSize": wishes.shm_size,
        "hostname": wishes.hostname,
        "extraHosts": dict(options.extra_host(text) for text in wishes.add_host or ()),
        "dns": list(wishes.dns or ()),
        "dnsSearch": list(wishes.dns_search or ()),
        "dnsOptions": list(wishes.dns_option or ()),
        "logging": options.logging(wishes.log_max_size, wishes.log_max_files),
    }


def _parent(text: str) -> dict[str, Any]:
    task, _, when = text.partition(":")
    return given_only({"taskId": task, "when": choice("--after", when or None, _WHEN)})


def _seconds(option: str, text: str | None) -> float | None:
    return None if text is None else parse_duration(text, option)


def _retry(wishes: Wishes) -> dict[str, Any]:
    return given_only(
        {
            "baseSeconds": _seconds("--retry-base", wishes.retry_base),
            "on": _codes("--retry-on", wishes.retry_on),
            "notOn": _codes("--retry-not-on", wishes.retry_not_on),
        }
    )


def _codes(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    codes = [code.strip() for code in text.split(",")]
    if "" in codes:
        raise InvalidInput(f"{option}: {text!r} is not a list of codes, such as exit:75,TIMEOUT")
    return codes


def _program(wishes: Wishes, base: Mapping[str, Any] | None) -> dict[str, Any]:
    """What runs: in a container the words are the image's arguments, elsewhere the command itself.

    With --spec the image is told by it or by -i, never by the first word.
    """
    words, told = list(wishes.words or ()), base or {}
    if wishes.handler is not None:
        return _function(wishes, words)
    if wishes.statement is not None:
        return _statement(wishes, words)
    if not _is_container(wishes, base):
        return {"runtime": wishes.runtime, "image": wishes.image, "command": words}
    image = wishes.image or (words.pop(0) if words and base is None else None)
    if not image and not told.get("image"):
        raise InvalidInput("say which image to run, with -i IMAGE or before its command")
    command = None if wishes.entrypoint is None else [wishes.entrypoint]
    return {"runtime": wishes.runtime, "image": image, "command": command, "args": words}


def _function(wishes: Wishes, words: list[str]) -> dict[str, Any]:
    if words:
        raise InvalidInput(f"a function takes no command such as {words[0]}; give it --payload JSON")
    runtime = wishes.runtime or Runtime.PYTHON.value
    return {"runtime": runtime, "image": wishes.image, "handler": wishes.handler}


def _statement(wishes: Wishes, words: list[str]) -> dict[str, Any]:
    if words:
        raise InvalidInput(f"a statement takes no command such as {words[0]}; give it --parameter VALUE")
    runtime = wishes.runtime or Runtime.SQL.value
    return {"runtime": runtime, "image": wishes.image, "statement": wishes.statement}


def _parameter(text: str) -> Any:
    """JSON where it is that, and else the text itself: `5`, `null`, `["a"]`, `2026-11-27`."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _payload(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"""--payload: {text!r} is not JSON, such as '{{"to": 1}}': {error}""") from None


def _is_container(wishes: Wishes, base: Mapping[str, Any] | None) -> bool:
    named = wishes.runtime or (base or {}).get("runtime")
    return wishes.handler is None and wishes.statement is None and named in (None, Runtime.DOCKER)


def _port(text: str) -> dict[str, Any]:
    ports, _, protocol = text.partition("/")
    host, colon, container = ports.rpartition(":")
    given = {"containerPort": _number(text, container), "hostPort": _number(text, host if colon else "")}
    return given | ({"protocol": protocol.upper()} if protocol else {})


def _number(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits)):
        raise InvalidInput(f"-p: {text!r} is not HOST:CONTAINER, such as 8080:80 or 53:53/udp")
    return int(digits)


def _resources(wishes: Wishes, base: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is reserved; a container is also limited to it."""
    amounts: dict[str, Any] = {"cpu": wishes.cpu, "memory": wishes.memory, "gpu": wishes.gpus}
    amounts = {name: amount for name, amount in amounts.items() if amount is not None}
    requests = amounts | pairs("--resource", wishes.resource)
    sections = {"requests": requests, "limits": amounts if _is_container(wishes, base) else {}}
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
