"""The settings about alerts: how each is written, and what the master gets of them."""

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from podling.boot.options import Faults
from podling.core.access import is_loopback
from podling.core.alert_policy import check_mail_address
from podling.core.errors import InvalidInput

if TYPE_CHECKING:
    from podling.boot.settings import MasterSettings
    from podling.master.context import AlertOptions

_HOST_PATTERN = re.compile(
    r"(?:\*\.)?[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?", re.ASCII
)
_COMMAND_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})", re.ASCII)
_PORTS = {"smtp": 25, "smtps": 465}


def host_pattern(given: str) -> str:
    """A host that web hooks may go to, `*.` for all below a name, perhaps with a port."""
    if not _HOST_PATTERN.fullmatch(given):
        raise ValueError(
            f"{given[:80]!r} names no host; write hooks.example.org, *.example.org or 127.0.0.1:8080"
        )
    return given


def recipient(given: str) -> str:
    """An address, or `*@` and a domain for everybody there."""
    return mail_address(given) if not given.startswith("*@") else f"*{mail_address('x' + given[1:])[1:]}"


def mail_address(given: str) -> str:
    try:
        check_mail_address("address", given)
    except InvalidInput:
        raise ValueError(f"{given[:80]!r} is no mail address; write podling@example.org") from None
    return given


def command(given: str) -> tuple[str, tuple[str, ...]]:
    """A command's name and its words; no shell reads them."""
    name, equals, line = given.partition("=")
    try:
        words = tuple(shlex.split(line))
    except ValueError:
        words = ()
    if not equals or not _COMMAND_NAME.fullmatch(name) or not words:
        raise ValueError(f"{given[:80]!r} is no command; write NAME=/usr/local/bin/page --loud")
    return name, words


def smtp_url(given: str) -> str:
    """A mail server's address. It is not repeated in the message, for it may hold a password."""
    try:
        parts = urlsplit(given)
        good = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("write smtp://HOST:587 or smtps://USER:PASSWORD@HOST:465, special characters as %XX")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("a user and a password go together: write smtps://USER:PASSWORD@HOST:465")
    return given


def check_mail(settings: "MasterSettings", faults: Faults) -> None:
    """Note it if one of the two settings that mail needs is missing."""
    told = {"smtp_url": settings.smtp_url, "mail_from": settings.mail_from}
    if len({item is None for item in told.values()}) == 2 and not faults.fields.intersection(told):
        faults.add(
            "--smtp-url and --mail-from (PODLING_SMTP_URL, PODLING_MAIL_FROM) go together; give both or none"
        )


def alert_options(settings: "MasterSettings") -> "AlertOptions":
    """Return what the master gets."""
    from podling.master.alerts.mail import MailServer
    from podling.master.context import AlertOptions

    mail = None
    if settings.smtp_url is not None and settings.mail_from is not None:
        parts = urlsplit(settings.smtp_url)
        host = parts.hostname or ""
        mail = MailServer(
            host=host,
            port=parts.port or _PORTS[parts.scheme],
            encrypted=parts.scheme == "smtps",
            sender=settings.mail_from,
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            is_local=is_loopback(host),
        )
    return AlertOptions(
        hosts=settings.alert_hosts,
        recipients=settings.alert_mail,
        commands=settings.alert_commands,
        mail=mail,
    )
