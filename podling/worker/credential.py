"""The node's own credential, in a file of the data directory that its owner alone can read.

The next secret is on the disk before any master hears of it, and the old one until a master has
answered: whenever the program ends, one that is accepted is here.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from podling.core.access import Role
from podling.core.errors import ConfigurationError
from podling.core.joining import RENEW_DAYS
from podling.core.token import SECRET_PATTERN, hash_secret, make_secret
from podling.core.value import value
from podling.kit.files import Draft

RENEW_SECONDS = RENEW_DAYS * 86_400.0
_NAME = "credential"
_AUTHORITY = "ca.pem"


@value
class _Kept:
    """`coming` is the secret that no master has answered for yet; times are of this machine's clock."""

    node_id: str
    secret: str | None = None
    coming: str | None = None
    joined_with: str | None = None
    made_at: float = 0.0


class NodeCredential:
    """`secret` None: this node has not joined yet."""

    def __init__(self, folder: Path, kept: _Kept, draw_bits: Callable[[int], int]) -> None:
        self._path = folder / _NAME
        self._kept = kept
        self._draw_bits = draw_bits

    @classmethod
    def at(cls, folder: Path, node_id: str, draw_bits: Callable[[int], int]) -> "NodeCredential":
        """Return the one kept in the data directory. Raises ConfigurationError if it cannot be read."""
        path = folder / _NAME
        return cls(folder, _load(path) if path.exists() else _Kept(node_id=node_id), draw_bits)

    @property
    def node_id(self) -> str:
        return self._kept.node_id

    @property
    def secret(self) -> str | None:
        return self._kept.secret

    def was_made_with(self, join_secret: str) -> bool:
        return self.secret is not None and self._kept.joined_with == hash_secret(join_secret)

    def begin(self, node_id: str, join_secret: str) -> str:
        """Have a secret for the node ready; return its hash. Raises InvalidInput if it cannot be kept."""
        joined_with = hash_secret(join_secret)
        if (self._kept.node_id, self._kept.joined_with) != (node_id, joined_with):
            self._kept = _Kept(node_id=node_id, joined_with=joined_with)
        return self.begin_next()

    def begin_next(self) -> str:
        """Have another secret ready, the same until `finish`; return its hash. Raises InvalidInput."""
        if self._kept.coming is None:
            self._keep(replace(self._kept, coming=make_secret(Role.WORKER, self._draw_bits)))
        return hash_secret(self._kept.coming or "")

    def finish(self, now: float) -> str:
        """Use that secret from now on, and return it. Raises InvalidInput if it cannot be kept."""
        assert self._kept.coming is not None, "finished without a beginning"
        secret = self._kept.coming
        self._keep(replace(self._kept, secret=secret, coming=None, made_at=now))
        return secret

    def seconds_left(self, now: float) -> float:
        """Return when it is to be renewed; also now if the clock was set back since it was made."""
        age = now - self._kept.made_at
        return 0.0 if age < 0 else max(0.0, RENEW_SECONDS - age)

    def _keep(self, kept: _Kept) -> None:
        with Draft(self._path, replace=True) as draft:
            draft.file.write(json.dumps(asdict(kept), indent=1).encode() + b"\n")
            draft.finish()
        self._kept = kept


def known_authority(folder: Path) -> Path | None:
    """Return the file with whom this node has trusted since it joined, if there is one."""
    path = folder / _AUTHORITY
    return path if path.exists() else None


def keep_authority(folder: Path, certificate: str | None) -> None:
    """Trust it from now on; None: whom the machine trusts. Raises InvalidInput if it cannot be kept."""
    if certificate is None:
        (folder / _AUTHORITY).unlink(missing_ok=True)
        return
    with Draft(folder / _AUTHORITY, replace=True) as draft:
        draft.file.write(certificate.encode())
        draft.finish()


def _load(path: Path) -> _Kept:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        kept = _Kept(**given)
        secrets = [secret for secret in (kept.secret, kept.coming) if secret is not None]
        is_whole = isinstance(kept.node_id, str) and isinstance(kept.made_at, int | float)
        if is_whole and secrets and all(SECRET_PATTERN.fullmatch(secret) for secret in secrets):
            return kept
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        pass  # not what was written there
    raise ConfigurationError(
        f"{path} is damaged: bring it back, or remove it and join anew with a token for this node "
        "(podling token create NAME --join --node ID; the id is in the file node-id beside it)"
    )
