"""What a log says of itself where something of it cannot be had."""

CUT_OFF = b"[podling: the worker does not answer; what follows is missing here]\n"
"""The last line of an output that goes on, or went on, at a worker that cannot be asked."""
