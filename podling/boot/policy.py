"""The operator's policy file: read at the start, and again at SIGHUP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from podling.boot.hangup import at_hangup
from podling.core.errors import ConfigurationError
from podling.core.permissions import Policy


def load_policy(path: Path) -> Policy:
    """Return what the file says. Raises ConfigurationError that names every fault in it."""
    # YAML and its reader are for those who have such a file.
    from podling.wire.policy import read_policy

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the policy {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the policy {path} is not UTF-8") from None
    try:
        return read_policy(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"the policy {path} is not valid: {error.message}") from None


@contextmanager
def reloading(
    path: Path | None, use: Callable[[Policy], None], keep: Callable[[str], None]
) -> Iterator[None]:
    """Read the file again at each SIGHUP meanwhile; one with a fault changes nothing, and is told."""
    if path is None:
        yield
        return

    with at_hangup(partial(_reload, path, use, keep)):
        yield


def _reload(path: Path, use: Callable[[Policy], None], keep: Callable[[str], None]) -> None:
    import logging

    log = logging.getLogger("podling.policy")
    try:
        policy = load_policy(path)
    except ConfigurationError as error:
        log.error("the policy stays as it was: %s", error.message)
        keep(error.message)
        return
    use(policy)
    log.info("the policy is now that of %s", path)
