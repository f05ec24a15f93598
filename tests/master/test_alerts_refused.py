"""What no rule of alerts, and no task's own wish, may say; and who may say what."""

import asyncio
from typing import Any

import pytest

from podling.core.access import Principal, Role
from podling.core.errors import PodlingError
from podling.core.spec import AlertWish
from podling.master.alerts.mail import MailServer
from podling.master.context import AlertOptions
from podling.master.operations.admission import Entry, admit
from podling.master.operations.alerts import check_wishes_of
from tests.builders import build_spec
from tests.master.masters import Api, Masters, RunningMaster, task_body

HOOK = "https://hooks.example.org/x"
LONG = "x" * 3000
NEVER_CALLED = [
    *(
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1:8080",
        "100.64.0.1",
        "0.0.0.0",
        "168.63.129.16",
    ),
    *("[::1]:9626", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
    *("2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "127.1", "127.0.0.1.", "0", "1.2.3.4.5"),
    *("[0:0:0:0:0:0:0:1]", "[2606:4700:4700:0:0:0:0:1111]", "8.8.2056", "010.8.8.8"),
]
NUL, BIDI = "a\0b", "a\u202eb"

RULES: list[tuple[dict[str, Any], str]] = [
    ({}, "http"),
    ({"http": HOOK, "mail": ["me@example.org"]}, "mail"),
    ({"http": HOOK, "command": "page"}, "command"),
    ({"http": HOOK, "surprise": 1}, "surprise"),
    ({"http": HOOK, "name": "other"}, "name"),
    *[
        ({"http": url}, "http")
        for url in (
            *("", " ", "x", "//x", "ftp://example.org", "file:///etc/passwd", "https://", "https://:443", 5),
            *("http://example.org:0/", "http://example.org:99999/", "http://example.org:x/", "http://[::1/"),
            *("https://user:pw@example.org/", "https://user@example.org/", "https://example.org/#x"),
            *(
                "https://exa mple.org/",
                "https://example.org\\@evil.test/",
                "https://ünï.example/",
                HOOK + LONG,
            ),
            *(f"https://example.org/{NUL}", f"https://example.org/{BIDI}", "https://example.org/\r\nX: y"),
            *("gopher://example.org", "https://exa%6Dple.org/", "https://a,b/", [HOOK], {"url": HOOK}),
        )
        if url != ""
    ],
    *[({"http": f"http://{host}/"}, "http") for host in NEVER_CALLED],
    *[
        ({"http": HOOK, "secret": secret}, "secret")
        for secret in ("", "x", "whsec_", "whsec_AAAA", "whsec_" + "A" * 200, "whsec_*" * 10, 5, ["x"])
    ],
    ({"mail": ["me@example.org"], "secret": "whsec_" + "A" * 32}, "secret"),
    *[
        ({"mail": [address]}, "mail.0")
        for address in (
            *("", "x", "@example.org", "me@", "me@@example.org", "me me@example.org", "me@exa mple.org"),
            *("me@example.org\r\nBcc: you@example.org", "Me <me@example.org>", "me@example.org,you@x", NUL),
            *("mé@example.org", "me@-example.org", "me@[127.0.0.1]", "a" * 300 + "@example.org"),
        )
    ],
    ({"mail": "me@example.org"}, "mail"),
    ({"mail": [5]}, "mail.0"),
    ({"mail": ["me@example.org"] * 21}, "mail"),
    *[({"command": name}, "command") for name in ("rm -rf /", "/bin/sh", "other", "../x")],
    ({"command": ["page"]}, "command"),
    ({"http": HOOK, "on": []}, "on"),
    ({"http": HOOK, "on": "failed"}, "on"),
    ({"http": HOOK, "on": ["exploded"]}, "on.0"),
    ({"http": HOOK, "on": ["failed"] * 100}, "on"),
    ({"http": HOOK, "queue": "a b"}, "queue"),
    ({"http": HOOK, "queue": ""}, "queue"),
    ({"http": HOOK, "labels": {"a b": "c"}}, "labels"),
    ({"http": HOOK, "labels": ["a"]}, "labels"),
    ({"http": HOOK, "labels": {"a": 5}}, "labels.a"),
    ({"http": HOOK, "taskName": ""}, "taskName"),
    ({"http": HOOK, "taskName": BIDI}, "taskName"),
    ({"http": HOOK, "namedOnly": "yes"}, "namedOnly"),
    *[({"http": HOOK, "maxPerMinute": number}, "maxPerMinute") for number in (0, -1, 601, 1.5, "10", True)],
]

WISHES: list[tuple[Any, str]] = [
    ("ops", "alerts"),
    ({}, "alerts"),
    ([{}], "alerts.0"),
    ([5], "alerts.0"),
    (["nobody"], "alerts.0"),
    (["a b"], "alerts.0.rule"),
    ([""], "alerts.0"),
    (["mailto:"], "alerts.0.mail.0"),
    (["mailto:x"], "alerts.0.mail.0"),
    (["mailto:me@example.org\r\nBcc: you@example.org"], "alerts.0.mail.0"),
    (["https://user:pw@example.org/"], "alerts.0.http"),
    (["http:"], "alerts.0.http"),
    ([{"http": "ftp://example.org/"}], "alerts.0.http"),
    ([{"http": HOOK, "secret": "whsec_" + "A" * 32}], "alerts.0.secret"),
    ([{"http": HOOK, "command": "page"}], "alerts.0.command"),
    ([{"http": HOOK, "mail": ["me@example.org"]}], "alerts.0"),
    ([{"http": HOOK, "on": ["exploded"]}], "alerts.0.on"),
    ([{"http": HOOK, "on": ["node_lost"]}], "alerts.0.on"),
    ([{"http": HOOK, "on": "failed"}], "alerts.0.on"),
    ([{"rule": "ops", "on": ["failed"]}], "alerts.0.on"),
    ([HOOK] * 11, "alerts"),
]


@pytest.fixture
async def master(masters: Masters) -> RunningMaster:
    server = MailServer(host="127.0.0.1", port=1, encrypted=False, sender="podling@example.org")
    commands = {"page": ("/bin/true",)}
    return await masters.start(alerts=AlertOptions(mail=server, commands=commands))


async def test_rules_are_refused_by_field(master: RunningMaster) -> None:
    async def check(rule: dict[str, Any], field: str) -> None:
        answer = await master.api.put("/alerts/ops", rule)
        assert (answer.status, answer.field) == (400, field), (rule, answer.text)

    await asyncio.gather(*(check(rule, field) for rule, field in RULES))
    assert (await master.api.get("/alerts")).json == []


async def test_wishes_are_refused_by_field(master: RunningMaster) -> None:
    async def check(wishes: Any, field: str) -> None:
        answer = await master.api.post("/tasks", task_body(alerts=wishes))
        assert (answer.status, answer.field) == (400, field), (wishes, answer.text)

    assert (await master.api.put("/alerts/ops", {"http": HOOK})).status == 201
    await asyncio.gather(*(check(wishes, field) for wishes, field in WISHES))
    assert (await master.api.get("/tasks")).json == []


async def test_paths_and_bodies(master: RunningMaster) -> None:
    for method in ("GET", "DELETE"):
        answer = await master.api.call(method, "/alerts/nobody")
        assert (answer.status, answer.code) == (404, "alert_not_found")
    assert (await master.api.get("/alerts", x="y")).code == "unknown_field"
    assert (await master.api.put("/alerts/a%20b", {"http": HOOK})).status == 404
    for raw in (b"", b"[]", b"{", b'{"http": "a", "http": "b"}', b"\xff"):
        answer = await master.api.call("PUT", "/alerts/ops", raw=raw)
        assert (answer.status, answer.code) == (400, "invalid_json"), raw


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700:4700::1111]:8080", "10.0.0.5:8080", "[fd00::5]", "a.test"]
)
async def test_public_and_listed_addresses_and_names_are_taken(masters: Masters, host: str) -> None:
    master = await masters.start(alerts=AlertOptions(hosts=("10.0.0.5:8080", "[fd00::5]")))
    url = f"http://{host}/"
    assert (await master.api.put("/alerts/ops", {"http": url})).status == 201
    assert (await master.api.post("/tasks", task_body(alerts=[url]))).status == 201
    for other in ("http://10.0.0.5/", "http://[fd00::6]/"):
        answer = await master.api.put("/alerts/ops", {"http": other})
        assert answer.field == "http" and "--alert-hosts" in answer.text
        assert (await master.api.post("/tasks", task_body(alerts=[other]))).field == "alerts.0.http"


async def test_without_a_mail_server_nobody_is_promised_mail(masters: Masters) -> None:
    master = await masters.start()
    answer = await master.api.put("/alerts/ops", {"mail": ["me@example.org"]})
    assert (answer.status, answer.field) == (400, "mail")
    assert "--smtp-url" in answer.text
    answer = await master.api.post("/tasks", task_body(alerts=["mailto:me@example.org"]))
    assert (answer.status, answer.field) == (400, "alerts.0.mail")


def _principal(role: Role) -> Principal:
    return Principal(name=role.value, roles=frozenset({role}))


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (AlertWish(http="https://listed.example.org/x"), None),
        (AlertWish(http="https://a.inner.test:8443/x"), None),
        (AlertWish(http="https://a.inner.test/x"), "alerts.0.http"),
        (AlertWish(http=HOOK), "alerts.0.http"),
        (AlertWish(mail=("me@example.org",)), None),
        (AlertWish(mail=("ME@Example.org", "boss@elsewhere.test")), None),
        (AlertWish(mail=("me@example.org", "other@elsewhere.test")), "alerts.0.mail"),
        (AlertWish(mail=("me@evil-example.org",)), "alerts.0.mail"),
    ],
)
async def test_a_submitter_tells_those_alone_whom_the_operator_lists(
    masters: Masters, wish: AlertWish, field: str | None
) -> None:
    options = AlertOptions(
        hosts=("listed.example.org", "*.inner.test:8443"),
        recipients=("*@example.org", "boss@elsewhere.test"),
        mail=MailServer(host="127.0.0.1", port=1, encrypted=False, sender="podling@example.org"),
    )
    context = (await masters.start(alerts=options)).server.context
    spec = build_spec(alerts=(wish,))
    await check_wishes_of(context, spec, _principal(Role.OPERATOR))
    if field is None:
        await check_wishes_of(context, spec, _principal(Role.SUBMITTER))
        return
    with pytest.raises(PodlingError) as refusal:
        await check_wishes_of(context, spec, _principal(Role.SUBMITTER))
    rule = "alert-hosts" if field.endswith("http") else "alert-mail"
    assert (refusal.value.code, refusal.value.details) == ("policy_denied", {"rule": rule, "field": field})


async def test_a_refused_wish_is_kept_as_a_decision(masters: Masters) -> None:
    master = await masters.start()
    spec = build_spec(alerts=(AlertWish(http="https://a.example.org/x"),))
    with pytest.raises(PodlingError):
        await admit(master.server.context, spec, Entry(actor=_principal(Role.SUBMITTER)))
    await master.server.context.decisions.run_once()
    (kept,) = (await master.api.get("/decisions")).json
    assert (kept["code"], kept["details"]["rule"]) == ("policy_denied", "alert-hosts")


async def test_secrets_stay_here(masters: Masters, caplog: pytest.LogCaptureFixture) -> None:
    """Not in answers, errors, logs or what Python prints of the parts."""
    secret = "whsec_" + "Z2VoZWltNDcxMQ" * 3 + "AA"
    mail = MailServer(host="127.0.0.1", port=1, encrypted=False, sender="a@b", user="u", password="hunter22")
    caplog.set_level("DEBUG")
    master = await masters.start(alerts=AlertOptions(mail=mail, hosts=("127.0.0.1",)), token="t" * 20)
    body = {"http": "http://127.0.0.1:1/T00/secret-path", "secret": secret}
    answers = [
        await master.api.put("/alerts/ops", body),
        await master.api.get("/alerts"),
        await master.api.post("/alerts/ops/test"),
        await master.api.put("/alerts/ops", body | {"secret": secret + "!"}),
    ]
    assert [answer.status for answer in answers] == [201, 200, 200, 400]
    told = "".join(answer.text for answer in answers) + caplog.text + repr(master.server.context)
    told += repr(master.server.context.alerts.rules) + repr(mail)
    assert "Z2VoZWltNDcxMQ" not in told and "hunter22" not in told
    assert "secret-path" not in caplog.text


async def test_a_stranger_reaches_no_route(masters: Masters) -> None:
    master = await masters.start(token="t" * 20)
    stranger = Api(master.url)
    try:
        for method, path in (("GET", "/alerts"), ("PUT", "/alerts/x"), ("POST", "/alerts/x/test")):
            assert (await stranger.call(method, path)).status == 401
    finally:
        await stranger.close()
