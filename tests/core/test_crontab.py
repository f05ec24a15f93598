"""What a crontab's lines mean."""

from podling.core.crontab import CrontabJob, CrontabRemark, read_crontab
from tests.builders import NOW


def read(text: str, with_users: bool = False) -> list[CrontabJob | CrontabRemark]:
    return list(read_crontab(text, with_users=with_users, now=NOW))


def test_assignments_hold_for_the_lines_below_them() -> None:
    first, mail, shell, zone, path, inner, second = read(
        "0 3 * * * /usr/bin/backup --all\n"
        "# a remark\n\n"
        'MAILTO = "me@example.org, you@example.org"\n'
        "SHELL=/bin/bash\n"
        "CRON_TZ=Europe/Berlin\n"
        "PATH=/opt/bin:/bin\n"
        "TZ=UTC\n"
        "  */5  *  * * 1-5\tbackup\n"
    )
    assert first == CrontabJob(
        line=1,
        text="0 3 * * * /usr/bin/backup --all",
        name="backup",
        cron="0 3 * * *",
        command="/usr/bin/backup --all",
    )
    assert all(
        isinstance(one, CrontabRemark) and not one.left_out for one in (mail, shell, zone, path, inner)
    )
    assert isinstance(second, CrontabJob)
    assert (second.line, second.name, second.cron) == (9, "backup-2", "*/5 * * * 1-5")
    assert second.mail == ("me@example.org", "you@example.org")
    assert (second.shell, second.time_zone, second.env) == (
        "/bin/bash",
        "Europe/Berlin",
        {"PATH": "/opt/bin:/bin", "TZ": "UTC"},
    )


def test_a_zone_that_is_none_is_told_in_its_line_and_nothing_fires_by_another() -> None:
    zone, job, known, again = read("CRON_TZ=Mars/Phobos\n@daily one\nCRON_TZ=UTC\n@daily two\n")
    for left in (zone, job):
        assert isinstance(left, CrontabRemark) and left.left_out and "Mars/Phobos" in left.message
    assert isinstance(known, CrontabRemark) and not known.left_out
    assert isinstance(again, CrontabJob) and again.time_zone == "UTC"


def test_a_line_ends_where_cron_says_and_nowhere_else() -> None:
    (job,) = read("@daily printf 'a\x0bb\x0cc\u2028d\x85e'\r\n")
    assert isinstance(job, CrontabJob) and job.command == "printf 'a\x0bb\x0cc\u2028d\x85e'"


def test_an_empty_mailto_tells_nobody() -> None:
    *_, job = read('MAILTO=me\nMAILTO=""\n@daily x')
    assert isinstance(job, CrontabJob) and job.mail == ()


def test_a_system_crontab_has_users() -> None:
    (job,) = read("17 * * * * root cd / && run-parts --report /etc/cron.hourly", with_users=True)
    assert isinstance(job, CrontabJob)
    assert (job.user, job.name, job.command) == ("root", "cd", "cd / && run-parts --report /etc/cron.hourly")
    (job,) = read("@daily www-data /x.sh", with_users=True)
    assert isinstance(job, CrontabJob) and (job.cron, job.user, job.command) == (
        "@daily",
        "www-data",
        "/x.sh",
    )


def test_percent_signs_make_the_input() -> None:
    (job,) = read(r"0 3 * * * date +\%F; cat%one's%two")
    assert isinstance(job, CrontabJob)
    assert job.command == "printf '%s\\n' 'one'\"'\"'s' two | { date +%F; cat\n}"


def test_what_cannot_be_taken_over_says_why() -> None:
    found = read("@reboot x\n0 0 30 2 * x\n* * * *\n@fortnightly x\n61 * * * * x\n")
    assert all(isinstance(one, CrontabRemark) and one.left_out for one in found)
    words = ("@reboot is no time", "day-of-month", "neither NAME=VALUE", "is not known", "0 to 59")
    for remark, expected in zip(found, words, strict=True):
        assert isinstance(remark, CrontabRemark) and expected in remark.message
    (unfinished,) = read("* * * * * root", with_users=True)
    assert isinstance(unfinished, CrontabRemark) and "no command after the user" in unfinished.message
