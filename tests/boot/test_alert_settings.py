"""How the settings about alerts are written, and what the master gets of them."""

from pathlib import Path

import pytest

from podling.boot.alerts import alert_options
from podling.boot.settings import MasterSettings, read_master
from podling.core.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def master(*flags: str, **environ: str) -> MasterSettings:
    return read_master(flags, environ)


def test_all_of_them() -> None:
    options = alert_options(
        master(
            *("--alert-hosts", "hooks.example.org,*.inner.test:8443", "--alert-hosts", "[::1]"),
            *("--alert-mail", "*@example.org, boss@elsewhere.test"),
            *(
                "--alert-command",
                'page=/usr/local/bin/page --text "two words"',
                "--alert-command",
                "log=logger",
            ),
            *("--mail-from", "podling@example.org"),
            PODLING_SMTP_URL="smtps://me%40x:pa%3Ass@mail.example.org",
        )
    )
    assert options.hosts == ("hooks.example.org", "*.inner.test:8443", "[::1]")
    assert options.recipients == ("*@example.org", "boss@elsewhere.test")
    assert options.commands == {"page": ("/usr/local/bin/page", "--text", "two words"), "log": ("logger",)}
    mail = options.mail
    assert mail is not None
    assert (mail.host, mail.port, mail.encrypted, mail.is_local) == ("mail.example.org", 465, True, False)
    assert (mail.user, mail.password, mail.sender) == ("me@x", "pa:ss", "podling@example.org")


def test_a_local_server_is_known_as_such() -> None:
    mail = alert_options(master("--smtp-url", "smtp://localhost", "--mail-from", "a@b")).mail
    assert mail is not None
    assert (mail.port, mail.encrypted, mail.is_local, mail.user) == (25, False, True, None)
    assert alert_options(master()).mail is None


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        *[
            ("--alert-hosts", text)
            for text in ("http://example.org", "a b", "*", "exa*mple.org", "a/b", "::1")
        ],
        *[("--alert-mail", text) for text in ("*", "example.org", "*@", "*@a b", "me@")],
        *[("--alert-command", text) for text in ("page", "page=", "=x", "a b=c", 'page="unclosed')],
        *[("--mail-from", text) for text in ("me", "Me <me@example.org>", "a@b\nBcc: c@d")],
    ],
)
def test_mistakes_are_told(flag: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=flag):
        master(flag, wrong)


@pytest.mark.parametrize(
    "url",
    [
        *("mail.example.org", "http://podling:hunter22@mail.example.org", "smtp://", "smtp://hunter22@mail"),
        *("smtp://u:hunter22@mail:x", "smtp://u:hunter22@mail/path", "smtp://u:hunter22@mail:0"),
    ],
)
def test_no_password_of_a_mail_server_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--smtp-url") as refusal:
        master("--smtp-url", url, "--mail-from", "a@b")
    assert "hunter22" not in str(refusal.value)
    settings = master("--smtp-url", "smtps://u:hunter22@mail", "--mail-from", "a@b")
    assert "hunter22" not in repr(settings) + repr(alert_options(settings))


@pytest.mark.parametrize("flags", [("--smtp-url", "smtp://mail"), ("--mail-from", "a@b")])
def test_mail_needs_both(flags: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="go together"):
        master(*flags)
