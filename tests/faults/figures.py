"""What tests of faults tell whoever reads their output, and how they clean up."""

import sys
from contextlib import suppress

from docker.errors import APIError

from tests.e2e.programs import Programs


def tell(figure: str) -> None:
    """Write a measured figure into the output of a long run."""
    sys.stdout.write(f"\n{figure}\n")


def remove_containers(running: Programs) -> None:
    """Remove what is left of this cluster; its workers may be doing the same."""
    for container in running.containers():
        with suppress(APIError):
            container.remove(force=True)
