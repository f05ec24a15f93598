"""Identifiers that sort by the time of their making."""

import secrets
from collections.abc import Callable
from datetime import datetime


def new_id(now: datetime, draw_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    high, low = divmod(draw_bits(74), 1 << 62)
    low |= 0b10 << 62
    time, middle, node = f"{milliseconds:012x}", f"{low >> 48:04x}", f"{low & ((1 << 48) - 1):012x}"
    return f"{time[:8]}-{time[8:]}-7{high:03x}-{middle}-{node}"
