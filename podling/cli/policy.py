"""`podling policy`: check a policy file, try a task against it, see the one in force."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.cli.options import Command, Group
from podling.client import decisions as calls
from podling.client.call import JsonObject
from podling.core.access import Role
from podling.core.errors import InvalidInput, PodlingError
from podling.core.permissions import SUBMITTING_ROLES, Policy

app = typer.Typer(
    cls=Group,
    help="What tasks may ask for.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)
_ROLES = ", ".join(sorted(SUBMITTING_ROLES))


@app.command("check", cls=Command)
def check(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The policy, in YAML (-: standard input).")],
    task: Annotated[
        str | None, typer.Option(metavar="SPECFILE", help="Would this task (JSON) be accepted?")
    ] = None,
    role: Annotated[
        str, typer.Option(metavar="ROLE", help=f"Who submits it: {_ROLES}.")
    ] = Role.SUBMITTER.value,
) -> None:
    """Say what is wrong with a policy file, line by line, or what it allows. Asks no master."""
    from podling.wire.policy import examine_policy, policy_view

    cli: Invocation = context.obj
    policy, faults = examine_policy(_text(file))
    if policy is None:
        told = [{"line": fault.line, "path": fault.path, "problem": fault.problem} for fault in faults]
        cli.show({"valid": False, "faults": told}, lambda: _tell(cli, file, [f.sentence() for f in faults]))
        raise typer.Exit(FAILED)
    plain: dict[str, Any] = {"valid": True, "faults": [], "policy": policy_view(policy)}
    if task is None:
        cli.show(plain, lambda: _draw(plain["policy"]))
        return
    refused = _refusal(policy, task, role)
    plain["task"] = {"accepted": refused is None, **_told(refused)}
    cli.show(plain, lambda: cli.line("accepted" if refused is None else _sentence(refused)))
    if refused is not None:
        raise typer.Exit(FAILED)


@app.command("show", cls=Command)
def show(context: typer.Context) -> None:
    """Show the policy in force at the master."""
    cli: Invocation = context.obj
    held = cli.client.send(calls.policy())
    cli.show(held, lambda: _draw_held(cli, held))


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is no policy: it is not UTF-8") from None


def _tell(cli: Invocation, file: str, sentences: list[str]) -> None:
    for sentence in sentences:
        cli.line(f"{file}: {sentence}")


def _refusal(policy: Policy, file: str, role: str) -> PodlingError | None:
    """Return why a submitter of the role would not get the task of the file accepted."""
    from podling.core.policy import validate_spec
    from podling.wire.tasks import load_object, parse_task

    if role not in SUBMITTING_ROLES:
        raise InvalidInput(f"--role: {role!r} is not one of {_ROLES}")
    try:
        spec = parse_task(load_object(_text(file).encode()))
        validate_spec(spec, policy, roles=frozenset({Role(role)}))
    except PodlingError as error:
        return error
    return None


def _told(refused: PodlingError | None) -> JsonObject:
    return {} if refused is None else {"error": refused.message, "code": refused.code} | refused.details


def _sentence(refused: PodlingError) -> str:
    rule = refused.details.get("rule")
    return f"denied by the rule {rule}: {refused.message}" if rule else f"not valid: {refused.message}"


def _draw_held(cli: Invocation, held: JsonObject) -> None:
    source = held.get("source") or "no file: the default"
    cli.line(f"In force since {held['loadedAt']}, from {source}.")
    if held.get("problem"):
        cli.line(f"The file has changed, and is not taken: {held['problem']}")
    _draw(held["policy"])


def _draw(policy: JsonObject) -> None:
    from podling.cli.table import print_table

    print_table(("RULE", "ALLOWS"), list(_rows(policy)))


def _rows(policy: JsonObject) -> Iterator[tuple[str, str]]:
    for section, rules in policy.items():
        if section == "hostPaths":
            yield section, ", ".join(map(_path, rules)) or "none"
        elif isinstance(rules, bool | str):
            yield section, _entries(section, section, rules)
        elif section == "limits":
            yield from ((f"limits.{role}", _limits(limits)) for role, limits in rules.items())
        else:
            yield from ((f"{section}.{name}", _entries(section, name, rule)) for name, rule in rules.items())


def _entries(section: str, name: str, rule: Any) -> str:
    if isinstance(rule, str):
        return rule
    if isinstance(rule, bool):
        return "yes" if rule else "no"
    if rule is None:
        return "all but host" if section == "networks" else "all"
    listed = ", ".join(map(str, rule)) or "none"
    return f"not {listed}" if name == "deny" and rule else listed


def _path(rule: JsonObject) -> str:
    return f"{rule['path']} (read only)" if rule.get("readOnly") else str(rule["path"])


def _limits(limits: JsonObject) -> str:
    return ", ".join(f"{name} {most}" for name, most in limits.items() if most is not None) or "any amount"
