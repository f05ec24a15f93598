"""What a crontab says, line by line: as much of it as schedules can take over, and why not the rest."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime

from podling.core.cron import Cron, zone_of
from podling.core.errors import InvalidInput
from podling.core.value import value

SHELL = "/bin/sh"
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.ASCII)
_ENTRY = re.compile(r"(@\S+|(?:\S+\s+){4}\S+)\s+(\S.*)", re.ASCII)
_WITH_USER = re.compile(r"(\S+)\s+(\S.*)")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_PERCENT = re.compile(r"(?<!\\)%")


@value
class CrontabJob:
    """A line that fires: `command` is for the shell, what `%` gave to its standard input is part of it."""

    line: int
    text: str
    name: str
    cron: str
    command: str
    shell: str = SHELL
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mail: tuple[str, ...] = ()
    time_zone: str | None = None


@value
class CrontabRemark:
    """What became of a line that makes no schedule; `left_out` is something that cron would have done."""

    line: int
    text: str
    message: str
    left_out: bool = False


def read_crontab(text: str, *, with_users: bool, now: datetime) -> Iterator[CrontabJob | CrontabRemark]:
    """Yield what each line means, in order; `with_users`: there is a user before the command."""
    reader = _Reader(with_users, now)
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield reader.read(number, stripped)


class _Reader:
    """Assignments hold for the lines below them."""

    def __init__(self, with_users: bool, now: datetime) -> None:
        self._with_users = with_users
        self._now = now
        self._shell = SHELL
        self._mail: tuple[str, ...] = ()
        self._zone: str | None = None
        self._env: dict[str, str] = {}
        self._names: dict[str, int] = {}

    def read(self, number: int, line: str) -> CrontabJob | CrontabRemark:
        try:
            if assignment := _ASSIGNMENT.fullmatch(line):
                message = self._assign(assignment[1], _unquoted(assignment[2]))
                return CrontabRemark(line=number, text=line, message=message)
            return self._job(number, line)
        except InvalidInput as error:
            return CrontabRemark(line=number, text=line, message=error.message, left_out=True)

    def _assign(self, name: str, given: str) -> str:
        match name:
            case "MAILTO":
                self._mail = tuple(address.strip() for address in given.split(",") if address.strip())
                told = ", ".join(self._mail) or "nobody"
                return f"{told} is told when a job below fails; cron would mail all output"
            case "SHELL":
                self._shell = given
                return f"jobs below run in {given}"
            case "CRON_TZ":  # TZ is for the commands alone
                self._zone = given  # also if it is none: jobs below are rather left out than at another time
                zone_of(given)
                return f"jobs below fire by the clocks of {given}"
        self._env[name] = given
        return "jobs below have it in their environment"

    def _job(self, number: int, line: str) -> CrontabJob:
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise InvalidInput("it is neither NAME=VALUE nor five fields and a command")
        cron, rest = " ".join(entry[1].split()), entry[2]
        if cron.lower() == "@reboot":
            raise InvalidInput("@reboot is no time; give it to systemd, or run a worker's own task by hand")
        user = None
        if self._with_users:
            split = _WITH_USER.fullmatch(rest)
            if split is None:
                raise InvalidInput("there is no command after the user")
            user, rest = split[1], split[2]
        Cron(cron, self._zone or "UTC", now=self._now)
        return CrontabJob(
            line=number,
            text=line,
            name=self._name_of(rest),
            cron=cron,
            command=_with_input(rest),
            shell=self._shell,
            user=user,
            env=dict(self._env),
            mail=self._mail,
            time_zone=self._zone,
        )

    def _name_of(self, command: str) -> str:
        """Return the program's name, with a number from its second line on."""
        program = command.split()[0].rpartition("/")[2]
        name = _NAME.sub("-", program).strip("-._")[:60] or "job"
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name}-{self._names[name]}"


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _with_input(command: str) -> str:
    """Return the command with what follows its first `%` as its input, as cron does; `\\%` is a `%`."""
    program, *lines = [part.replace("\\%", "%") for part in _PERCENT.split(command)]
    if not lines:
        return program
    given = " ".join(shlex.quote(line) for line in lines)
    return f"printf '%s\\n' {given} | {{ {program}\n}}"
