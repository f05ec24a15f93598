"""How people write the engine's options: amounts as quantities, one number for both ulimits."""

from typing import Any

from podling.core.errors import InvalidInput
from podling.core.quantity import parse_memory


def parse_options(container: dict[str, Any]) -> None:
    """Put numbers in their place; what has another form is left for the validator."""
    if "shmSize" in container:
        container["shmSize"] = _bytes("shmSize", container["shmSize"])
    logging = container.get("logging")
    if isinstance(logging, dict) and "maxSize" in logging:
        logging["maxSize"] = _bytes("logging.maxSize", logging["maxSize"])
    ulimits = container.get("ulimits")
    if isinstance(ulimits, dict):
        container["ulimits"] = {name: _ulimit(limit) for name, limit in ulimits.items()}


def _bytes(path: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise InvalidInput.field(path, "must be a quantity such as 64Mi, or a number")
    try:
        return parse_memory(given)
    except (ValueError, OverflowError) as error:
        raise InvalidInput.field(path, str(error)) from None


def _ulimit(given: Any) -> Any:
    return {"soft": given} if isinstance(given, int) and not isinstance(given, bool) else given
