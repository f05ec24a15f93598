"""Which addresses this program has, as far as its kernel tells."""

import socket

_ANY_PORT = 9  # nothing is sent there


def own_address_towards(address: str) -> str | None:
    """Return the address that packets to another one would come from; None if no way leads there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, _ANY_PORT))
        except OSError:
            return None
        return str(asking.getsockname()[0])
