"""`podling logs`: what a task wrote, byte by byte as it was written."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.follow import MISSING, SILENCE_SECONDS, Follower, write_raw
from podling.cli.invocation import Invocation
from podling.cli.text import parse_since
from podling.client import tasks
from podling.client.call import Call
from podling.core.errors import DeadlineExceeded, InvalidInput
from podling.wire.logs import hold_back, split_missing


class StreamName(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


def logs(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="An id, the beginning of one, or a name.")],
    tail: Annotated[int | None, typer.Option(min=0, help="Only so many lines from the end.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the task has ended.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from then on: 10m (ago), or a time.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Which attempt; the newest if not given.")
    ] = None,
    stream: Annotated[StreamName | None, typer.Option(help="Only one of the two.")] = None,
) -> None:
    """Show what a task wrote."""
    cli: Invocation = context.obj
    if cli.settings.json and follow:
        raise InvalidInput("--json prints a log as one object and cannot follow it; leave one of the two out")
    found = cli.find(task)
    start = None if since is None else parse_since(since, datetime.now(UTC))
    name = None if stream is None else str(stream)
    if follow and attempt is None:
        follower = Follower(cli, stream=name, tail=tail, since=start)
        follower.until_end(found, first_attempt=max(found.get("attempt") or 0, 1))
        if follower.missing is not None:
            raise typer.Exit(FAILED)
        return
    chosen = attempt or found.get("attempt") or None  # 0 before the first
    call = tasks.logs(found["taskId"], attempt=chosen, stream=name, tail=tail, since=start, follow=follow)
    if cli.settings.json:
        log, missing = split_missing(b"".join(_chunks(cli, call, follow)))
        shown = {"taskId": found["taskId"], "attempt": chosen, "log": log.decode(errors="replace")}
        cli.print_json(shown if missing is None else shown | {"missing": missing})
    else:
        missing = _write(_chunks(cli, call, follow))
    if missing is not None:
        cli.note(MISSING.format(reason=missing))
        raise typer.Exit(FAILED)


def _write(chunks: Iterator[bytes]) -> str | None:
    """Write the output; return why its end is missing, if it is."""
    held = b""
    for chunk in chunks:
        output, held = hold_back(held + chunk) if chunk else (held, b"")
        write_raw(output)
    rest, missing = split_missing(held)
    write_raw(rest)
    return missing


def _chunks(cli: Invocation, call: Call[str], follow: bool) -> Iterator[bytes]:
    for chunk in cli.client.stream(call, silence_seconds=SILENCE_SECONDS):
        if not chunk and not follow:
            raise DeadlineExceeded(f"the log broke off: nothing came for {SILENCE_SECONDS:g} s")
        yield chunk
