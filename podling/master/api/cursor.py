"""The place in a list that is ordered by time: where the next page begins."""

import base64
import binascii
from datetime import datetime

from podling.core.errors import InvalidInput
from podling.master.api.http import instant
from podling.wire.codec import rfc3339


def cursor_of(at: datetime, id_: str) -> str:
    """Return the text that stands for the last item of a page."""
    return base64.urlsafe_b64encode(f"{rfc3339(at)} {id_}".encode()).decode().rstrip("=")


def after(cursor: str) -> tuple[datetime, str]:
    """Return time and id of the last item seen. Raises InvalidInput."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, _, id_ = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        moment = instant(at)
    except (ValueError, binascii.Error):
        moment, id_ = None, ""
    if moment is None or not id_ or "\0" in id_:
        raise InvalidInput.field("cursor", "is not one that a list gave")
    return moment, id_
