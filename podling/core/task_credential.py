"""The credential of one attempt: its worker makes it, and every master knows it without a look-up.

A key that all masters share gives each node a key of its own, and that one signs the node's attempts:
so a worker can speak for what runs on its node, and for nothing else. Whether the attempt that a
credential names is the live one is for whoever takes it to find out.
"""

import hmac

from podling.core.protocol import AttemptKey
from podling.core.value import value

KEY_BITS = 256
MOST_CREDENTIAL_CHARACTERS = 512
_PREFIX = "podling_task_"  # as other secrets begin, so that they are known when they are seen
_MOST_DIGITS = 10


@value
class TaskClaim:
    """What a credential says of its holder."""

    key: AttemptKey
    node_id: str
    signature: str


def node_key(key: bytes, node_id: str) -> bytes:
    """Return what the node signs its attempts with."""
    return hmac.digest(key, b"node\0" + node_id.encode(), "sha256")


def make_credential(key_of_node: bytes, key: AttemptKey, node_id: str) -> str:
    signature = _signature(key_of_node, key)
    return f"{_PREFIX}{signature}.{key.attempt}.{key.task_id}.{node_id}"


def read_claim(secret: str) -> TaskClaim | None:
    """Return what a credential says; None if it is not that of an attempt."""
    if not secret.startswith(_PREFIX) or len(secret) > MOST_CREDENTIAL_CHARACTERS:
        return None
    parts = secret.removeprefix(_PREFIX).split(".", 3)
    if len(parts) < 4 or not _is_number(parts[1]):
        return None
    signature, attempt, task_id, node_id = parts
    return TaskClaim(
        key=AttemptKey(task_id=task_id, attempt=int(attempt)), node_id=node_id, signature=signature
    )


def is_signed(claim: TaskClaim, key: bytes) -> bool:
    """Whether the node that is named has made it; the key is the masters'."""
    return is_made_with(claim, node_key(key, claim.node_id))


def is_made_with(claim: TaskClaim, key_of_node: bytes) -> bool:
    """Whether it was made with this node's key."""
    wanted = _signature(key_of_node, claim.key)
    return hmac.compare_digest(wanted.encode(), claim.signature.encode())


def _signature(key_of_node: bytes, key: AttemptKey) -> str:
    signed = f"{key.attempt}\0{key.task_id}".encode()
    return hmac.digest(key_of_node, signed, "sha256").hex()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
