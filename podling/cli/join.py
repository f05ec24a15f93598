"""The command that makes another machine a node."""

import shlex

from podling.cli.doctor import is_this_machine
from podling.cli.invocation import Invocation
from podling.client import authority, cluster
from podling.core.errors import NotFound
from podling.core.joining import JoinToken
from podling.kit.tls import fingerprint_of


def command(cli: Invocation, secret: str) -> str:
    """Return what to type there, with the masters that live and whom that machine may trust."""
    masters = cli.client.send(cluster.read())["masters"]
    urls = [item["advertiseUrl"] for item in masters if item.get("alive") is not False]
    if near := [url for url in urls if is_this_machine(url)]:
        cli.note(
            f"{near[0]} leads to a master on its own machine alone: for others, start that master with "
            "--host and --advertise-url"
        )
    token = JoinToken(secret=secret, fingerprint=_fingerprint(cli))
    return f"{cli.programs.worker} --join {token} --master-url {shlex.quote(','.join(urls))}"


def _fingerprint(cli: Invocation) -> str | None:
    """Return that of whom the masters' certificates are signed by; None where any machine can tell."""
    try:
        return fingerprint_of(cli.client.send(authority.read()))
    except NotFound:
        return None
