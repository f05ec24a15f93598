"""The engine's refusals, as sentences that a person can act on."""

import re

from podling.core.errors import RuntimeFailure
from podling.core.retry import ErrorCode
from podling.worker.runtime.docker_engine import Refused

_SENTENCES = [
    (
        r'exec: "(?P<it>[^"]*)": (executable file not found|stat .*no such file)',
        "The command {it} is not in the image.",
    ),
    (r'exec: "(?P<it>[^"]*)": permission denied', "The command {it} may not be executed."),
    (r'exec: "(?P<it>[^"]*)": is a directory', "The command {it} is a directory."),
    (r"exec (?P<it>\S+): exec format error", "The command {it} is made for another kind of processor."),
    (r"unable to find user (?P<it>[^:]*):", "The image has no user {it}."),
    (r"unable to find group (?P<it>[^:]*):", "The image has no group {it}."),
    (r"uids and gids must be in range", "The user is beyond the range of user numbers."),
    (r'chdir to cwd \("(?P<it>[^"]*)"\)', "The working directory {it} cannot be entered."),
    (r"Cannot mkdir: (?P<it>.*) is not a directory", "The working directory {it} is not a directory."),
    (r"network (?P<it>\S+) not found", "The network {it} does not exist on the node."),
    (r"Bind for \S*?:(?P<it>\d+) failed: port is already allocated", "The host port {it} is in use."),
    (r"listen (tcp|udp)\d? \S*?:(?P<it>\d+): bind: address already in use", "The host port {it} is in use."),
    (r"bind source path does not exist: (?P<it>\S+)", "The node has no {it} to mount."),
    (r"could not select device driver .*gpu", "The node's engine has no driver for GPUs."),
    (r"No command specified", "The image names no command, and neither does the task."),
]
_PATTERNS = [(re.compile(pattern), sentence) for pattern, sentence in _SENTENCES]
_LAYER = r"(failed to create (shim task|shim|task for container)|(OCI runtime|runc) create failed): "
_LAYERS = re.compile(f"^({_LAYER})+")


def failure(refusal: Refused, code: ErrorCode) -> RuntimeFailure:
    """Return the failure of a create or a start, with the engine's words in the details."""
    return RuntimeFailure(
        sentence(refusal.message), code=code, details={"engine": refusal.message, "status": refusal.status}
    )


def sentence(message: str) -> str:
    """Return what the engine's message means; its own words, tidied, where that is not known."""
    for pattern, text in _PATTERNS:
        if match := pattern.search(message):
            return text.format(it=match.groupdict().get("it"))
    return _LAYERS.sub("", message).removesuffix(": unknown")
