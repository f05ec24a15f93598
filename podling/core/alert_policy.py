"""What a rule of alerts, or a task's own wish for some, may say. Each check raises InvalidInput."""

import base64
import binascii
import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from podling.core.addresses import is_listed, is_public, port_of, usual_form
from podling.core.alerts import AlertEvent, AlertRule
from podling.core.errors import Conflict, InvalidInput
from podling.core.fields import (
    MAX_NAME_CHARACTERS,
    check_count,
    check_identifier,
    check_labels,
    check_length,
    check_number,
    check_pattern,
    check_text,
)
from podling.core.permissions import denied
from podling.core.spec import AlertWish
from podling.core.value import value

MOST_RULES = 1000
MOST_WISHES = 10
MOST_RECIPIENTS = 20
MOST_PER_MINUTE = 600
SECRET_PREFIX = "whsec_"

_LOCAL_PART = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_DOMAIN_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = re.compile(rf"{_LOCAL_PART}@{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]", re.ASCII)


@value
class AlertPermissions:
    """What the operator of a master allows. `commands` are the names of those in its settings.

    `hosts` may be called wherever they are; `recipients` may be written to by tasks of their own.
    """

    hosts: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    commands: frozenset[str] = frozenset()
    has_mail: bool = False


def check_rule(rule: AlertRule, allowed: AlertPermissions) -> AlertRule:
    """Return the rule if it may be kept."""
    check_identifier("name", rule.name)
    if rule.queue is not None:
        check_identifier("queue", rule.queue)
    if rule.task_name is not None:
        check_text("taskName", rule.task_name, MAX_NAME_CHARACTERS)
    check_labels("labels", rule.labels)
    _check_events("on", rule.on, needed=True)
    check_number("maxPerMinute", rule.max_per_minute, 1, MOST_PER_MINUTE)
    _check_one_of({"http": rule.http, "mail": rule.mail, "command": rule.command})
    if rule.http is not None:
        check_url("http", rule.http)
        check_address("http", rule.http, allowed.hosts)
    if rule.secret is not None:
        _check_secret(rule)
    _check_recipients("mail", rule.mail, allowed)
    if rule.command is not None and rule.command not in allowed.commands:
        known = ", ".join(sorted(allowed.commands)) or "none"
        raise InvalidInput.field(
            "command", f"must be one that the master's --alert-command lists; known are {known}"
        )
    return rule


def check_room(rules: Collection[str], name: str) -> None:
    """Raises Conflict for a rule that would be one too many: every change of a task looks at all of them."""
    if name not in rules and len(rules) >= MOST_RULES:
        raise Conflict(
            f"there are {MOST_RULES} alert rules, which is the most: remove one that is of no more use with "
            "podling alert delete, or have one rule tell of more tasks",
            code="too_many_alerts",
        )


def kept_secret(known: AlertRule | None, url: str) -> str | None:
    """Return what signs a rule's calls already; nobody else is to learn what it looks like by another URL."""
    if known is None or known.http is None or _host_of(known.http) != _host_of(url):
        return None
    return known.secret


def _host_of(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, port_of(url)


def check_wishes(wishes: Sequence[AlertWish]) -> None:
    """Refuse what no task may say, whoever submits it."""
    check_count("alerts", wishes, MOST_WISHES)
    for index, wish in enumerate(wishes):
        field = f"alerts.{index}"
        _check_one_of({"rule": wish.rule, "http": wish.http, "mail": wish.mail}, field)
        _check_events(f"{field}.on", wish.on)
        if wish.rule is not None:
            check_identifier(f"{field}.rule", wish.rule)
            if wish.on:
                raise InvalidInput.field(f"{field}.on", "belongs to the rule; leave it out here")
        if wish.http is not None:
            check_url(f"{field}.http", wish.http)
        _check_addresses(f"{field}.mail", wish.mail)


def check_permitted(
    wishes: Sequence[AlertWish], rules: Collection[str], allowed: AlertPermissions, *, operator: bool
) -> None:
    """Refuse wishes that cannot be met, or that only an operator may have. Raises PolicyDenied too."""
    for index, wish in enumerate(wishes):
        field = f"alerts.{index}"
        if wish.rule is not None and wish.rule not in rules:
            raise InvalidInput.field(field, f"there is no alert rule {wish.rule!r}; see podling alert list")
        _check_recipients(f"{field}.mail", wish.mail, allowed)
        if not operator:
            _check_listed(field, wish, allowed)
        if wish.http is not None:
            check_address(f"{field}.http", wish.http, allowed.hosts)


def _check_listed(field: str, wish: AlertWish, allowed: AlertPermissions) -> None:
    if wish.http is not None and not may_be_called(wish.http, allowed):
        problem = "the operator has to list this host with --alert-hosts, or to make a rule for it"
        raise denied("alert-hosts", f"{field}.http", problem)
    for address in wish.mail:
        if not may_be_written_to(address, allowed):
            problem = f"the operator has to list {address} with --alert-mail, or to make a rule for it"
            raise denied("alert-mail", f"{field}.mail", problem)


def may_be_called(url: str, allowed: AlertPermissions) -> bool:
    """Whether the operator lists the host of this URL."""
    return is_listed(urlsplit(url).hostname or "", port_of(url), allowed.hosts)


def may_be_written_to(address: str, allowed: AlertPermissions) -> bool:
    """Whether the operator lists this mail address."""
    return any(_matches(address.lower(), pattern.lower()) for pattern in allowed.recipients)


def _matches(address: str, pattern: str) -> bool:
    """`*@example.org` is everybody there, anything else one address."""
    if pattern.startswith("*@"):
        return address.endswith(pattern[1:])
    return address == pattern


def shown_url(url: str) -> str:
    """Return scheme and host of a checked URL: what comes after them may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…" if parts.path.strip("/") or parts.query else url


def check_url(field: str, url: str) -> None:
    """Refuse what is no plain address of HTTP: no user, no fragment, a host and a port that can be."""
    check_text(field, url, 2048)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.port != 0 and bool(parts.hostname)
    except ValueError:  # a port or an IPv6 address that is none
        good = False
    if not good or not url.isascii() or " " in url or "\\" in url:
        raise InvalidInput.field(field, "must be an address such as https://hooks.example.org/podling")
    if "@" in parts.netloc:
        raise InvalidInput.field(field, "must not carry a user or a password")
    if parts.fragment:
        raise InvalidInput.field(field, "must not end in a #fragment, which is never sent")
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc.rstrip(":")
    check_pattern(field, host, _HOST, "must name its host by letters, digits, dots and hyphens")


def check_address(field: str, url: str, hosts: Collection[str]) -> None:
    """Refuse an address, in the place of a name, that is never called. What a name leads to shows then."""
    host = urlsplit(url).hostname or ""
    try:
        usual = usual_form(host)
    except ValueError:
        problem = (
            f"{host} is an address in an unusual spelling; write its four numbers as they are, and have "
        )
        problem += "the master's --alert-hosts list it unless it is public"
        raise InvalidInput.field(field, problem) from None
    if usual is None:
        return
    if usual != host:
        raise InvalidInput.field(field, f"{host} is an address in an unusual spelling; write it as {usual}")
    if not is_public(usual) and not is_listed(usual, port_of(url), hosts):
        problem = f"{usual} is no public address, and never called unless the master's --alert-hosts lists it"
        raise InvalidInput.field(field, problem)


def _check_one_of(given: dict[str, object], field: str | None = None) -> None:
    told = [name for name, item in given.items() if item]
    if len(told) == 1:
        return
    choices = ", ".join(list(given)[:-1]) + f" or {list(given)[-1]}"
    at = field or (told[1] if told else next(iter(given)))
    raise InvalidInput.field(at, f"there must be one of {choices}, and one only")


def _check_events(field: str, events: Sequence[str], *, needed: bool = False) -> None:
    known = ", ".join(AlertEvent)
    if needed and not events:
        raise InvalidInput.field(field, f"must name at least one of {known}")
    check_count(field, events, len(AlertEvent))
    for event in events:
        if event not in set(AlertEvent):
            raise InvalidInput.field(field, f"{str(event)[:40]!r} is none of {known}")
    if not needed and AlertEvent.NODE_LOST in events:
        raise InvalidInput.field(field, "node_lost is about no task; make a rule for it")


def _check_recipients(field: str, addresses: Sequence[str], allowed: AlertPermissions) -> None:
    if addresses and not allowed.has_mail:
        raise InvalidInput.field(field, "this master sends no mail: start it with --smtp-url and --mail-from")
    _check_addresses(field, addresses)


def _check_addresses(field: str, addresses: Sequence[str]) -> None:
    check_count(field, addresses, MOST_RECIPIENTS)
    for index, address in enumerate(addresses):
        check_mail_address(f"{field}.{index}", address)


def check_mail_address(field: str, address: str) -> None:
    """Refuse what is no plain address, such as one that would end a header line."""
    check_length(field, address, 254)
    check_pattern(field, address, _MAIL, f"{address[:80]!r} is not an address such as me@example.org")


def _check_secret(rule: AlertRule) -> None:
    if rule.http is None:
        raise InvalidInput.field("secret", "is only of use with http")
    if secret_key(rule.secret or "") is None:
        problem = f"must be {SECRET_PREFIX} and the base64 of 24 to 64 bytes; without one it is made for you"
        raise InvalidInput.field("secret", problem)


def secret_key(secret: str) -> bytes | None:
    """Return the key that a secret stands for; None for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if secret.startswith(SECRET_PREFIX) and 24 <= len(key) <= 64 else None
