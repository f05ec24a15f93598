"""The function of the bench: it does nothing, or tells the port that it is given that it has begun."""

import socket
from typing import Any

from podling.handlers import Context, handler

JOB_TYPE = "bench.noop"

_line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@handler(JOB_TYPE)
async def noop(payload: Any, context: Context) -> None:
    if payload is not None:
        _line.sendto(context.task_id.encode(), ("127.0.0.1", payload))
