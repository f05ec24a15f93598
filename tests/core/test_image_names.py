"""What names an image, and what never does."""

import pytest

from podling.core.errors import InvalidInput
from podling.core.policy import validate_spec
from podling.core.spec import ContainerSpec, TaskSpec
from tests.builders import build_spec

DIGEST = "sha256:" + "0a" * 32
BAD_IMAGES = [
    "", " ", "a b", "-v", "../x", "/x", "x/", "x//y", "Busybox", "UPPER/x", "x:", "x:-tag", "x@",
    "x@sha256:12", f"x@{DIGEST.upper()}", "x@md5:" + "0" * 32, "x\0", "http://x/y", ".x", "x.",
    "a" * 256, "x:" + "t" * 129,    "reg:port/x", "-reg.io/x", "x\n", "é",
]  # fmt: skip
GOOD_IMAGES = [
    "busybox", "busybox:1.36", "library/busybox", "reg.example/library/busybox:latest", "localhost/x",
    "localhost:5000/a/b", "127.0.0.1:5000/x:y", "[::1]:5000/x", "Reg.Example.com/x", f"x@{DIGEST}",
    f"reg.io:1/x:t@{DIGEST}",    "a__b/c--d/e.f", DIGEST,
]  # fmt: skip


def of_image(name: str) -> TaskSpec:
    return build_spec(containers=(ContainerSpec(image=name),))


@pytest.mark.parametrize("image", BAD_IMAGES)
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_spec(of_image(image))
    assert refused.value.details == {"field": "image"}


@pytest.mark.parametrize("image", GOOD_IMAGES)
def test_a_reference_to_an_image_is_accepted(image: str) -> None:
    spec = of_image(image)
    assert validate_spec(spec) is spec
