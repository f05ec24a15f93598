"""The examples are accepted by the same door as any submit."""

from pathlib import Path

import pytest

from podling.core.policy import validate_spec
from podling.wire.tasks import load_object, parse_task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.json")))
def test_an_example_is_a_task_that_is_accepted(name: str) -> None:
    spec = validate_spec(parse_task(load_object((EXAMPLES / name).read_bytes())))
    assert spec.name
    assert spec.main.image == "podling-busybox:local"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_program_compiles(name: str) -> None:
    compile((EXAMPLES / name).read_text(), name, "exec")
