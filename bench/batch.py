"""Tasks accepted per second in batches of 500 by HTTP, each batch answered after its commit."""

from bench.report import Result
from bench.submit import submits
from bench.trial import Trial

BATCH = 500
CONNECTIONS = 4
SETTINGS = f"batches of {BATCH} over {CONNECTIONS} connections, one node"


async def run(trial: Trial) -> Result:
    """Return `rate` (tasks a second) and the answers' waits."""
    return await submits(trial, "--connections", str(CONNECTIONS), "--batch", str(BATCH))
