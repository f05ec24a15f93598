"""`podling doctor`: what is wrong or soon will be, and what to do about it."""

import ipaddress
import socket
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.text import parse_time
from podling.client import cluster
from podling.client.call import JsonObject
from podling.client.program import addresses_of
from podling.core.errors import PodlingError, Unauthorized, Unavailable

_WIDTH = 90
_SEVERITIES = ("problem", "warning", "note")
_PATIENCE_SECONDS = {"cluster": 20.0, "master": 5.0}  # a master may wait for its store first
_THIS_MACHINE = "this machine"


def doctor(
    context: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 for warnings too.")] = False,
) -> None:
    """Look for what is wrong, or soon will be: each with what it means and what to do about it.

    Ends with 1 if there is a problem; warnings and notes leave it at 0.
    """
    cli: Invocation = context.obj
    answers, findings = _ask_all(cli)
    for answer in answers:
        findings += answer["findings"]
    findings = _in_order(findings)
    asked = [{name: answer[name] for name in ("masterId", "advertiseUrl", "version")} for answer in answers]
    cli.show({"masters": asked, "findings": findings}, lambda: _draw(cli, findings, len(asked)))
    bad = _SEVERITIES[: 2 if strict else 1]
    if any(finding["severity"] in bad for finding in findings):
        raise typer.Exit(FAILED)


def _ask_all(cli: Invocation) -> tuple[list[JsonObject], list[JsonObject]]:
    """Ask one master about the cluster and every other one about itself; return answers and own findings.

    Raises Unavailable if none answers.
    """
    given = addresses_of(cli.settings.master)
    answers: list[JsonObject] = []
    findings: list[JsonObject] = []
    last: PodlingError | None = None
    left = list(given)
    while left:
        url = left.pop(0)
        try:
            answer, told = _ask(cli, url, "master" if answers else "cluster")
        except (Unavailable, Unauthorized) as error:
            last = error
            findings.append(_unreachable(url, error, url in given))
            continue
        findings += told
        if answer["masterId"] not in [known["masterId"] for known in answers]:
            unknown = [other for other in _others(answer) if other not in (url, *given)]
            reasons = {other: _untrusted(other, url) if cli.settings.token else None for other in unknown}
            left += [other for other, reason in reasons.items() if reason is None]
            findings += [_not_asked(given, other, reason) for other, reason in reasons.items() if reason]
            answers.append(answer)
    if not answers and last is not None:
        raise last
    return answers, findings


def _others(answer: JsonObject) -> Iterator[str]:
    masters: Iterable[JsonObject] = answer["masters"]
    return (item["advertiseUrl"] for item in masters if item["masterId"] != answer["masterId"])


def _untrusted(url: str, told_by: str) -> str | None:
    """Say why the token must not go to an address that only another master named."""
    proves_itself = url.startswith("https:") and told_by.startswith("https:") and is_this_machine(told_by)
    if is_this_machine(url) and not proves_itself:
        return "anybody may listen at an address of this machine once a master has left it"
    if told_by.startswith("https:") and not url.startswith("https:"):
        return "its address is not encrypted, and that of the master that named it is"
    return None


def is_this_machine(url: str) -> bool:
    """Whether what connects to it stays here, however it is written."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(socket.inet_aton(host) if ":" not in host else host)
    except (OSError, ValueError):
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _not_asked(given: Sequence[str], url: str, why: str) -> JsonObject:
    return {
        "severity": "note",
        "code": "master_not_asked",
        "subject": f"master {url}",
        "message": f"it was not asked, so that it does not see your token: {why}",
        "meaning": "what it would say of itself and of its workers is not among the findings",
        "remedy": "name it if it is yours, or correct its --advertise-url",
        "command": f"podling doctor --master {','.join((*given, url))}",
    }


def _ask(cli: Invocation, url: str, scope: str) -> tuple[JsonObject, list[JsonObject]]:
    client = cli.client_of(url, _PATIENCE_SECONDS[scope])
    before = datetime.now(UTC)
    answer = client.send(cluster.doctor(scope))
    told = parse_time(answer["at"])
    if told is None:
        return answer, []
    return answer, _clock(answer["advertiseUrl"], told, before, datetime.now(UTC))


def _clock(url: str, told: datetime, before: datetime, after: datetime) -> list[JsonObject]:
    from dataclasses import asdict

    from podling.core.doctor_machine import examine_clock, skew

    ahead = -skew(told, before, after)
    return [asdict(finding) for finding in examine_clock(_THIS_MACHINE, f"master {url}", ahead)]


def _unreachable(url: str, error: PodlingError, is_given: bool) -> JsonObject:
    why = (
        error.message if isinstance(error, Unauthorized) else str(error.details.get("reason", error.message))
    )
    return {
        "severity": "warning",
        "code": "master_unreachable",
        "subject": f"master {url}",
        "message": f"it cannot be asked from this machine: {why}",
        "meaning": "workers and commands that know only this address find no master",
        "remedy": "start it, or correct the address in --master"
        if is_given
        else "start it, or give it an --advertise-url that can be reached",
        "command": None,
    }


def _in_order(findings: list[JsonObject]) -> list[JsonObject]:
    once = {(finding["code"], finding["subject"], finding["message"]): finding for finding in findings}
    return sorted(once.values(), key=lambda finding: _SEVERITIES.index(finding["severity"]))


def _draw(cli: Invocation, findings: list[JsonObject], masters: int) -> None:
    for finding in findings:
        _draw_finding(cli, finding)
    counts = [(severity, _count(findings, severity)) for severity in _SEVERITIES]
    words = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts if count)
    cli.line(f"Asked {masters} master{'s' * (masters != 1)}: {words or 'all is well'}.")


def _count(findings: list[JsonObject], severity: str) -> int:
    return sum(finding["severity"] == severity for finding in findings)


def _draw_finding(cli: Invocation, finding: JsonObject) -> None:
    """Print what was found, what it means and what to do; a command stands alone, to be copied."""
    command = finding["command"]
    cli.line(f"{finding['severity']}: {finding['subject']}")
    for text in (
        f"{finding['message']}; {finding['meaning']}",
        f"{finding['remedy']}{':' if command else ''}",
    ):
        for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
            cli.line(f"  {line}")
    if command:
        cli.line(f"    {command}")
    cli.line()
