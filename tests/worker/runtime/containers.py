"""Containers of the tests, and what Docker itself says of them."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson

from podling.core.spec import ContainerSpec
from tests.docker_engine import IMAGE, docker


def shell(script: str, **options: Any) -> ContainerSpec:
    return replace(ContainerSpec(image=IMAGE, command=("sh", "-c"), args=(script,)), **options)


def name() -> str:
    return f"podling-test-{uuid4().hex[:12]}"


def inspected(container_id: str) -> Any:
    return orjson.loads(docker("inspect", container_id))[0]
