"""Credentials for registries, from a file in the form of Docker's own `config.json`, read at each pull."""

import json
from pathlib import Path

from docker import auth
from docker.errors import DockerException

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode

_REFUSALS = ("unauthorized", "authentication required", "no basic auth", "access denied", "is denied")
_MAYBE_MISSING = "repository does not exist"  # a registry that says neither yes nor no


def header(registry: str, file: Path | None) -> str | None:
    """Return what to send for this registry; None if nothing is known of it.

    Without a file it is Docker's own: in DOCKER_CONFIG, or ~/.docker/config.json. Helpers that the file
    names (credHelpers, credsStore) are run. Raises RuntimeFailure (IMAGE_AUTH).
    """
    if file is not None:
        _check(file)
    try:
        known = auth.load_config(None if file is None else str(file))
        found = auth.resolve_authconfig(known, registry)
    except (DockerException, OSError) as error:
        raise RuntimeFailure(
            f"the credentials for {registry} cannot be had: {error}", code=ErrorCode.IMAGE_AUTH
        ) from error
    return auth.encode_header(found).decode() if found else None


def is_refusal(message: str) -> bool:
    """Whether a registry's words mean that credentials are wrong or missing."""
    words = message.lower()
    return _MAYBE_MISSING not in words and any(word in words for word in _REFUSALS)


def _check(file: Path) -> None:
    """The SDK takes a file that it cannot read for an empty one."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise RuntimeFailure(
            f"--registry-config: {file} cannot be read: {reason}", code=ErrorCode.IMAGE_AUTH
        ) from None
    if not isinstance(held, dict):
        raise RuntimeFailure(
            f"--registry-config: {file} holds no JSON object, as Docker's config.json does",
            code=ErrorCode.IMAGE_AUTH,
        )
