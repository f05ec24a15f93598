"""Operating systems and architectures: as images name them, and as labels of nodes.

The labels are those that other orchestrators use too; an operator may set them to something else.
"""

from collections.abc import Iterator

from podling.core.spec import Constraint, ContainerSpec

OS_LABEL = "kubernetes.io/os"
ARCHITECTURE_LABEL = "kubernetes.io/arch"

_IMAGES_NAMES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armv6l": "arm",
    "armv7l": "arm",
}


def platform_labels(system: str, machine: str) -> dict[str, str]:
    """Return the labels of a machine that calls itself so, such as `Linux` and `x86_64`."""
    return {
        OS_LABEL: system.lower(),
        ARCHITECTURE_LABEL: _IMAGES_NAMES.get(machine.lower(), machine.lower()),
    }


def platform_constraints(container: ContainerSpec) -> Iterator[Constraint]:
    """Yield what a node has to be for the container's platform; a variant is the image's affair."""
    if container.platform is not None:
        system, architecture, *_ = container.platform.split("/")
        yield Constraint(label=OS_LABEL, values=(system,))
        yield Constraint(label=ARCHITECTURE_LABEL, values=(architecture,))
