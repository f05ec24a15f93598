"""What a node may say of itself, and what it is refused by."""

from typing import Any

import pytest

from podling.core.errors import InvalidInput
from podling.core.policy import validate_node_id, validate_node_registration


def register(**fields: Any) -> None:
    defaults = {"hostname": "node-1.local", "port": 8071, "capacity": {"slots": 4}}
    validate_node_registration(**(defaults | fields))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("hostname", {"hostname": ""}),
        ("hostname", {"hostname": "a b"}),
        ("hostname", {"hostname": "-a"}),
        ("hostname", {"hostname": "h" * 254}),
        ("hostname", {"hostname": "a/../b"}),
        ("port", {"port": 0}),
        ("port", {"port": 70000}),
        ("capacity", {"capacity": {"slots": 0}}),
        ("capacity", {"capacity": {"slots": 2**63}}),
        ("cpu", {"capacity": {"cpu": 0}}),
        ("memory", {"capacity": {"memory": 1}}),
        ("capacity", {"capacity": {"a b": 1}}),
        ("allocatable.cpu", {"capacity": {"cpu": 1000}, "allocatable": {"cpu": 1001}}),
        ("labels", {"labels": {"a b": "c"}}),
        ("runtimes", {"runtimes": ("a b",)}),
    ],
)
def test_a_bad_registration_is_refused_by_its_field(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(**wrong)
    assert refused.value.details == {"field": field}


@pytest.mark.parametrize(
    "hostname", ["localhost", "10.0.0.1", "::1", "fe80::1%eth0", "a_b.example.com", "A-1"]
)
def test_a_good_registration_is_accepted(hostname: str) -> None:
    register(hostname=hostname, capacity={"slots": 2**31, "cpu": 4000, "memory": 2**33, "gpu": 0})


@pytest.mark.parametrize("node_id", ["", "a/b", "a b", "x" * 10_000, "\0"])
def test_what_is_no_node_id_is_refused(node_id: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_node_id(node_id)
    assert len(refused.value.message) < 300
