"""`podling dlq`: tasks that failed for good, until somebody replays or dismisses them."""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from podling.cli.exit_codes import FAILED, exit_code_of
from podling.cli.hosts import hosts, with_hosts
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.cli.pages import collect
from podling.cli.ps import remark
from podling.cli.text import age, described, parse_moment, short_ids, span
from podling.client import dead_letters as calls
from podling.client import tasks
from podling.client.call import Call, JsonObject
from podling.core.dead_letters import DeadLetterReason
from podling.core.errors import InvalidInput, PodlingError
from podling.core.value import value

_COLUMNS = ("ID", "NAME", "QUEUE", "FAILED", "TRY", "REASON", "CODE", "REMARK")
_TRIES = ("TRY", "STATUS", "NODE", "TOOK", "CODE", "ERROR")
_PAGE = 500

app = typer.Typer(
    cls=Group,
    help="See, replay and dismiss dead letters: tasks that failed for good.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)

Queue = Annotated[str | None, typer.Option(metavar="Q", help="Only those of this queue.")]
ReasonName = Annotated[
    DeadLetterReason | None,
    typer.Option("--reason", metavar="REASON", help="Only those of this reason, such as NON_RETRYABLE."),
]
Code = Annotated[
    str | None, typer.Option(metavar="CODE", help="Only those that ended with this code, such as TIMEOUT.")
]
Tasks = Annotated[
    list[str] | None, typer.Argument(metavar="[TASK...]", help="Ids, beginnings of ids, or names.")
]
Everything = Annotated[bool, typer.Option("--all", "-a", help="All that are on the list.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether many are meant.")]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="At most so many, the last failed first.")
]


@value
class _Chosen:
    """The letters that a command means: some by name, or all that filters let through."""

    names: tuple[str, ...]
    queue: str | None
    reason: DeadLetterReason | None
    error_code: str | None
    everything: bool

    def __post_init__(self) -> None:
        filters = self.words()
        if self.names and (filters or self.everything):
            raise InvalidInput("name tasks, or give --queue, --reason, --error-code or --all, not both")
        if not (self.names or filters or self.everything):
            raise InvalidInput("say which: tasks, --queue, --reason, --error-code, or --all for every one")

    def words(self) -> str:
        """Return the filters as a person says them."""
        given = (("queue", self.queue), ("reason", self.reason), ("error code", self.error_code))
        return ", ".join(f"{name} {text}" for name, text in given if text is not None)


@app.command("list", cls=Command)
def list_letters(
    context: typer.Context,
    queue: Queue = None,
    reason: ReasonName = None,
    error_code: Code = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List without a limit.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 100,
) -> None:
    """List them, the last failed first."""
    cli: Invocation = context.obj
    listing = partial(calls.listing, queue=queue, reason=reason, error_code=error_code)
    listed = collect(cli, listing, None if everything else limit)
    cli.show(listed.items, lambda: _draw(cli, listed.items))
    if listed.next_cursor and not cli.settings.json:
        cli.note(f"the list ends after {len(listed.items)}; --limit N or --all shows more")


@app.command("show", cls=Command)
def show(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="An id, the beginning of one, or a name.")],
) -> None:
    """Tell why one failed, what can be done, and what each try came to."""
    cli: Invocation = context.obj
    found = cli.find(task)
    task_id = str(found["taskId"])
    explanation = cli.client.send(tasks.explain(task_id))
    attempts = collect(cli, partial(tasks.attempts, task_id), None).items
    plain = {"task": found, "explanation": explanation, "attempts": attempts}
    cli.show(plain, lambda: _draw_one(cli, explanation, attempts))


@app.command("replay", cls=Command)
def replay(
    context: typer.Context,
    task: Tasks = None,
    queue: Queue = None,
    reason: ReasonName = None,
    error_code: Code = None,
    everything: Everything = False,
    to_queue: Annotated[str | None, typer.Option(metavar="Q", help="The new tasks' queue.")] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: a time, or 10m, 2h from now.")
    ] = None,
    limit: Limit = None,
    yes: Yes = False,
) -> None:
    """Run them again, each as a new task; what was replayed leaves the list.

    Repeated, it goes on with what is left. One that may not be submitted any more stays on the list.
    """
    cli: Invocation = context.obj
    at = None if run_at is None else parse_moment(run_at, "--run-at", datetime.now(UTC))
    chosen = _chosen(task, queue, reason, error_code, everything)
    if chosen.names:
        _each(cli, chosen.names, lambda task_id: tasks.replay(task_id, queue=to_queue, run_at=at), "replayed")
        return
    _confirm(cli, chosen, "replay", yes)
    call = partial(
        calls.replay, queue=queue, reason=reason, error_code=error_code, to_queue=to_queue, run_at=at
    )
    pages = _pages(cli, call, limit, lambda page: len(page["replayed"]) + len(page["refused"]))
    done = [each for page in pages for each in page["replayed"]]
    refused = [each for page in pages for each in page["refused"]]
    cli.show({"replayed": done, "refused": refused}, lambda: cli.line(f"{len(done)} replayed"))
    for each in refused if not cli.settings.json else ():
        cli.note(f"podling: {each['taskId']}: {each['error']}")
    raise typer.Exit(FAILED if refused else 0)


@app.command("dismiss", cls=Command)
def dismiss(
    context: typer.Context,
    task: Tasks = None,
    queue: Queue = None,
    reason: ReasonName = None,
    error_code: Code = None,
    everything: Everything = False,
    limit: Limit = None,
    yes: Yes = False,
) -> None:
    """Take them off the list; the tasks and their history stay."""
    cli: Invocation = context.obj
    chosen = _chosen(task, queue, reason, error_code, everything)
    if chosen.names:
        _each(cli, chosen.names, calls.dismiss_task, "dismissed")
        return
    _confirm(cli, chosen, "dismiss", yes)
    call = partial(calls.dismiss, queue=queue, reason=reason, error_code=error_code)
    pages = _pages(cli, call, limit, lambda page: int(page["dismissed"]))
    count = sum(page["dismissed"] for page in pages)
    cli.show({"dismissed": count}, lambda: cli.line(f"{count} dismissed"))


def _chosen(
    names: list[str] | None,
    queue: str | None,
    reason: DeadLetterReason | None,
    error_code: str | None,
    everything: bool,
) -> _Chosen:
    return _Chosen(
        names=tuple(names or ()), queue=queue, reason=reason, error_code=error_code, everything=everything
    )


def _confirm(cli: Invocation, chosen: _Chosen, verb: str, yes: bool) -> None:
    """Ask whether so many are meant. Raises InvalidInput where there is nobody to ask."""
    if yes:
        return
    filters = {"queue": chosen.queue, "reason": chosen.reason, "error_code": chosen.error_code}
    page = cli.client.send(calls.listing(**filters, limit=_PAGE))
    count = f"more than {len(page.items)}" if page.next_cursor else str(len(page.items))
    about = f" of {words}" if (words := chosen.words()) else ""
    letters = "dead letter" if count == "1" else "dead letters"
    question = f"{verb} {count} {letters}{about}"
    if not sys.stdin.isatty():
        raise InvalidInput(f"this would {question}: say --yes if that is meant")
    cli.note(f"{question}? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidInput("nothing was done")


def _pages(
    cli: Invocation,
    call: Callable[..., Call[JsonObject]],
    limit: int | None,
    count: Callable[[JsonObject], int],
) -> list[JsonObject]:
    """Do one page after the other; what fails meanwhile is newer than the first, so there is an end."""
    pages: list[JsonObject] = []
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = cli.client.send(call(limit=size, cursor=cursor))
        pages.append(page)
        cursor = page["nextCursor"]
        left = None if left is None else left - count(page)
        if cursor is None:
            break
        cli.detail(f"{sum(map(count, pages))} so far")
    return pages


def _each(
    cli: Invocation, names: tuple[str, ...], call: Callable[[str], Call[JsonObject]], done: str
) -> None:
    """Do it to each that is named, and tell of those with which it cannot be done."""
    answers, exit_codes = [], []
    for reference in names:
        try:
            answers.append(cli.client.send(call(cli.task_id(reference))))
        except PodlingError as error:
            cli.tell_error(error, about=reference)
            exit_codes.append(exit_code_of(error))
            continue
        if not cli.settings.json:
            cli.line(answers[-1]["taskId"] if done == "replayed" else f"{answers[-1]['taskId']} {done}")
    if cli.settings.json:
        cli.print_json(answers)
    raise typer.Exit(next(iter(exit_codes), 0))


def _draw(cli: Invocation, items: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    if not items:
        cli.note("there are no dead letters")
        return
    now = datetime.now(UTC)
    ids = short_ids([item["taskId"] for item in items])
    print_table(_COLUMNS, [_row(item, ids, now) for item in items])


def _row(item: JsonObject, ids: dict[str, str], now: datetime) -> list[object]:
    return [
        ids[item["taskId"]],
        item["name"],
        item["queue"],
        age(item.get("finishedAt"), now),
        item.get("attempt") or "-",
        item.get("deadLetterReason"),
        item.get("errorCode"),
        remark(item),
    ]


def _draw_one(cli: Invocation, explanation: JsonObject, attempts: list[JsonObject]) -> None:
    from podling.cli.table import print_table

    names = hosts(cli)
    cli.line(with_hosts(explanation["summary"], names))
    for reason in map(described, explanation.get("reasons") or ()):
        if reason not in explanation["summary"]:
            cli.line(f"  - {with_hosts(reason, names)}")
    if explanation.get("advice"):
        cli.line(f"Advice: {with_hosts(explanation['advice'], names)}")
    if attempts:
        cli.line()
        print_table(_TRIES, [_try_row(attempt, names) for attempt in attempts])


def _try_row(attempt: JsonObject, names: Mapping[str, str]) -> list[object]:
    began, over = (attempt.get(name) for name in ("startedAt", "finishedAt"))
    took = "-"
    if began and over:
        took = span((datetime.fromisoformat(over) - datetime.fromisoformat(began)).total_seconds())
    return [
        attempt["attempt"],
        attempt["status"],
        with_hosts(attempt["nodeId"], names),
        took,
        attempt.get("errorCode"),
        with_hosts(attempt.get("error") or "", names),
    ]
