"""Passwords never reach a log or a terminal, whoever wrote the message."""

import re

from podling.core.token import SECRET_PATTERN

# The word itself stands in sentences that show how an address is written.
_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^:/@\s]*:)(?!password@)\S*(?=@)", re.IGNORECASE)
_IN_KEYWORD = re.compile(r"(\bpass(?:word|wd)?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&;,]+)", re.IGNORECASE)
_IN_HEADER = re.compile(r"(\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_HIDDEN = r"\1***"


def redact(text: str) -> str:
    """Hide passwords of addresses and of `password=…`, and tokens."""
    for pattern in (_IN_ADDRESS, _IN_KEYWORD, _IN_HEADER):
        text = pattern.sub(_HIDDEN, text)
    return SECRET_PATTERN.sub("podling_***", text)
