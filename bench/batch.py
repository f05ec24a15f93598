"""Tasks accepted per second in batches of 500 by HTTP, each batch answered after its commit."""

from bench import submit
from bench.report import Result

BATCH = 500
CONNECTIONS = 4
SETTINGS = (
    f"batches of {BATCH} over {CONNECTIONS} connections, one node, {submit.STEADY_SECONDS:g} s measured"
)


async def run(store: str) -> Result:
    """Return `rate` (tasks a second) and the answers' waits."""
    return await submit.run(store, BATCH, CONNECTIONS)
