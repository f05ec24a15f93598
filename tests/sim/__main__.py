"""Live through one seed: `python -m tests.sim SEED [STEPS]`."""

import sys

from tests.sim.world import LawBroken, World

try:
    print(World(int(sys.argv[1])).run(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))  # noqa: T201
except LawBroken as broken:
    sys.exit(str(broken))
