"""What every way of sending shares: its outcome, and its two kinds of failure."""

from dataclasses import field
from typing import Any, Protocol

from podling.core.alert_message import Message
from podling.core.errors import PodlingError
from podling.core.value import value

LONGEST_ANSWER = 300  # characters of what a receiver says that are kept


class Unreachable(PodlingError):
    """Nobody took the message; the next one to the same address would fare no better."""

    default_code = "unreachable"


class Refused(PodlingError):
    """The receiver was there and did not take this message. With `final` it is not sent again."""

    default_code = "refused"

    def __init__(self, message: str, *, final: bool = False, **more: Any) -> None:
        super().__init__(message, **more)
        self.final = final


@value
class Target:
    """Where a message goes: exactly one of the three; each of `secrets` signs what is sent to `http`."""

    http: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    mail: tuple[str, ...] = ()
    command: str | None = None


@value
class Content:
    """A message with what was looked up for it: why it came so, and the end of the task's output."""

    message: Message
    body: bytes
    text: str


class Sender(Protocol):
    async def send(self, target: Target, content: Content) -> str:
        """Send it; return what the receiver said, in a few words. Raises Unreachable, Refused."""


def shortened(answer: str) -> str:
    """Return the beginning of what a receiver said, in one line that shows as it is."""
    line = " ".join("".join(part if part.isprintable() else " " for part in answer).split())
    return line if len(line) <= LONGEST_ANSWER else line[: LONGEST_ANSWER - 1] + "…"
