"""From the flags for the engine's options, which are Docker's own, to the fields of a submit."""

from collections.abc import Sequence
from typing import Any

from podling.cli.flags import given_only
from podling.core.errors import InvalidInput


def capabilities(add: Sequence[str] | None, drop: Sequence[str] | None) -> dict[str, Any]:
    return {"add": [name.upper() for name in add or ()], "drop": [name.upper() for name in drop or ()]}


def device(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) > 3 or "" in parts:
        raise InvalidInput(f"--device: {text!r} is not PATH, PATH:INSIDE or PATH:INSIDE:rwm")
    return dict(zip(("hostPath", "containerPath", "permissions"), parts, strict=False))


def ulimit(text: str) -> tuple[str, dict[str, int]]:
    name, equals, amounts = text.partition("=")
    soft, _, hard = amounts.partition(":")
    try:
        limit = {"soft": int(soft), "hard": int(hard or soft)}
    except ValueError:
        limit = {}
    if not equals or not limit:
        raise InvalidInput(f"--ulimit: {text!r} is not NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024")
    return name, limit


def extra_host(text: str) -> tuple[str, str]:
    name, colon, address = text.partition(":")
    if not colon or not name or not address:
        raise InvalidInput(f"--add-host: {text!r} is not NAME:ADDRESS, such as db:10.0.0.5")
    return name, address.removeprefix("[").removesuffix("]")


def logging(max_size: str | None, max_files: int | None) -> dict[str, Any]:
    return given_only({"maxSize": max_size, "maxFiles": max_files})
