"""The one table from errors to HTTP statuses, and the one shape of an error's body."""

from typing import Any

from podling.core import errors

_STATUSES: tuple[tuple[type[errors.PodlingError], int], ...] = (
    (errors.TooLarge, 413),
    (errors.UnsupportedMediaType, 415),
    (errors.RequestTimeout, 408),
    (errors.InvalidInput, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooManyRequests, 429),
    (errors.Unavailable, 503),
)


def status_of(error: errors.PodlingError) -> int:
    """Return the HTTP status for an error; 500 for one that no request should meet."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_body(error: errors.PodlingError) -> dict[str, Any]:
    return {"error": error.message, "code": error.code, "details": error.details}


def error_from(status: int, body: dict[str, Any]) -> errors.PodlingError:
    """Return the error that a response stands for; the inverse of the two functions above."""
    kind = next((kind for kind, known in _STATUSES if known == status), errors.PodlingError)
    message = str(body.get("error") or f"the master answered with status {status}")
    details = body.get("details")
    return kind(message, code=body.get("code"), details=details if isinstance(details, dict) else None)
