"""Cursors of lists that are ordered by a time and an id, and how a page is cut from one."""

import base64
import binascii
from datetime import UTC, datetime

from podling.core.errors import InvalidInput

Place = tuple[datetime, str]
"""What a list is ordered by."""


def cursor_of(place: Place) -> str:
    """Return the cursor that leads to what comes after this place."""
    at, item_id = place
    text = f"{at.astimezone(UTC).isoformat()} {item_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Return the place that a list's cursor tells of. Raises InvalidInput."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text, _, item_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        at = datetime.fromisoformat(text).astimezone(UTC)
        known = at.year >= 1970 and bool(item_id) and "\0" not in item_id
    except (ValueError, OverflowError, binascii.Error):
        known = False
    if not known:
        raise InvalidInput.field("cursor", "is not one that a list gave")
    return at, item_id
