"""What tests of the worker's agent share."""

from typing import Any

import pytest

from tests.core.agent_model import assignment
from tests.core.agent_world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.renew()
    return world


def run(world: World, **spec: Any) -> None:
    """Have the assignment run."""
    world.assign(assignment(**spec))
    world.settle()
    world.take_reports()


def told(world: World, kind: type) -> list[Any]:
    return [instruction for instruction in world.issued if isinstance(instruction, kind)]
