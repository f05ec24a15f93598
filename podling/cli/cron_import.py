"""From a crontab to schedules, line by line."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from podling.cli.cron import in_words
from podling.cli.exit_codes import FAILED
from podling.cli.invocation import Invocation
from podling.client import schedules as calls
from podling.client.call import JsonObject
from podling.core.cron import Cron
from podling.core.crontab import CrontabJob, CrontabRemark, read_crontab
from podling.core.errors import Conflict, Forbidden, InvalidInput

_LOCAL_TIME = Path("/etc/localtime")
_SYSTEM = ("/etc/crontab", "/etc/cron.d/")


class Import:
    """Exit code 1 says that something was left out; the same import again makes nothing twice."""

    def __init__(self, cli: Invocation, *, image: str | None, time_zone: str | None, dry_run: bool) -> None:
        self._cli = cli
        self._image = image
        self._zone = time_zone
        self._dry_run = dry_run
        self._now = datetime.now(UTC)
        self._told: list[JsonObject] = []

    def run(self, crontab: str, system: bool) -> None:
        text = _read(crontab)
        if text.lstrip().startswith("["):
            self._take_all(text)
        else:
            self._take_lines(text, system or crontab.startswith(_SYSTEM))
        if self._cli.settings.json:
            self._cli.print_json(self._told)
        if any(line["leftOut"] for line in self._told):
            raise typer.Exit(FAILED)

    def _take_all(self, text: str) -> None:
        """Take what `podling cron list --json` gave, perhaps of another cluster."""
        import json

        try:
            listed = json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"it begins as JSON and is none: {error}") from None
        for number, schedule in enumerate(listed, start=1):
            if not isinstance(schedule, dict):
                raise InvalidInput(f"item {number} is no schedule, as podling cron list --json gives them")
            job = CrontabJob(
                line=number,
                text=f"{schedule.get('cron')} {schedule.get('name')}",
                name=str(schedule.get("name")),
                cron=str(schedule.get("cron")),
                command="",
            )
            self._make(job, schedule, str(schedule.get("timeZone") or "UTC"))

    def _take_lines(self, text: str, with_users: bool) -> None:
        if self._zone is None:
            self._zone = zone_here()
            self._cli.note(f"times are those of {self._zone}; --time-zone ZONE says otherwise")
        for found in read_crontab(text, with_users=with_users, now=self._now):
            if isinstance(found, CrontabRemark):
                self._tell(found.line, found.text, found.message, left_out=found.left_out)
            else:
                zone = found.time_zone or self._zone
                self._make(found, self._body(found, zone), zone)

    def _make(self, job: CrontabJob, body: JsonObject, zone: str) -> None:
        try:
            first = Cron(job.cron, zone, now=self._now).next(self._now, 1)[0]
            if not self._dry_run:
                self._cli.client.send(calls.create(body))
        except Conflict:
            there = f"schedule {job.name} is there already, and stays as it is: podling cron show {job.name}"
            self._tell(job.line, job.text, there, name=job.name)
        except (InvalidInput, Forbidden) as error:
            self._tell(job.line, job.text, error.message, left_out=True)
        else:
            would = "would be" if self._dry_run else "is"
            remark = f"{would} schedule {job.name}, first {in_words(first, zone)}{self._about_user(job)}"
            self._tell(job.line, job.text, remark, name=job.name)

    def _about_user(self, job: CrontabJob) -> str:
        if job.user is None or self._image is None:
            return ""
        return f"; the user {job.user} is left out, the image's own runs it"

    def _body(self, job: CrontabJob, zone: str) -> JsonObject:
        task: dict[str, Any] = {"name": job.name, "command": [job.shell, "-c", job.command]}
        if job.env:
            task["env"] = dict(job.env)
        if job.mail:
            task["alerts"] = [f"mailto:{','.join(job.mail)}"]
        if self._image is not None:
            task["image"] = self._image
        else:
            task["runtime"] = "process"
            if job.user is not None:
                task["user"] = job.user
        return {"name": job.name, "cron": job.cron, "timeZone": zone, "task": task}

    def _tell(
        self, line: int, text: str, message: str, *, left_out: bool = False, name: str | None = None
    ) -> None:
        self._told.append(
            {"line": line, "text": text, "message": message, "leftOut": left_out, "schedule": name}
        )
        if not self._cli.settings.json:
            self._cli.line(f"line {line}: {text}")
            self._cli.line(f"    {'left out: ' if left_out else ''}{message}")


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None


def zone_here() -> str:
    """Return the name of this machine's time zone."""
    _, folder, name = str(_LOCAL_TIME.resolve()).partition("/zoneinfo/")
    return name if folder and name not in ("Etc/UTC", "Etc/UCT", "UTC") else "UTC"
