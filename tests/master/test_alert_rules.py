"""Rules as they are kept: how many, and with which secret."""

import asyncio
from dataclasses import replace

import pytest

from podling.core.alert_policy import MOST_RULES
from podling.core.alerts import AlertRule
from tests.master.alerting import make
from tests.master.masters import RunningMaster

HOOK = "https://hooks.example.org/a"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.org/a",
        "http://hooks.example.org/a",
        "https://hooks.example.org:8443/a",
    ],
)
async def test_another_host_gets_another_secret(master: RunningMaster, url: str) -> None:
    made = await make(master, "ops", http=HOOK)
    moved = (await master.api.put("/alerts/ops", {"http": url})).json
    assert moved["secret"].startswith("whsec_") and moved["secret"] != made["secret"]
    assert master.server.context.alerts.rules["ops"].secret == moved["secret"]
    again = await master.api.put("/alerts/ops", {"http": url})
    assert "secret" not in again.json
    given = await master.api.put("/alerts/ops", {"http": HOOK, "secret": made["secret"]})
    assert given.status == 200 and "secret" not in given.json
    assert master.server.context.alerts.rules["ops"].secret == made["secret"]


async def test_another_path_of_the_same_host_keeps_it(master: RunningMaster) -> None:
    made = await make(master, "ops", http=HOOK)
    moved = await master.api.put("/alerts/ops", {"http": "HTTPS://Hooks.example.org:443/b?c"})
    assert "secret" not in moved.json
    assert master.server.context.alerts.rules["ops"].secret == made["secret"]


async def test_there_is_an_end_to_rules(master: RunningMaster) -> None:
    alerts, rule = master.server.context.store.alerts, AlertRule(name="ops", http=HOOK, secret="whsec_x")
    await asyncio.gather(
        *(alerts.save_rule(replace(rule, name=f"rule-{number}")) for number in range(MOST_RULES))
    )
    refused = await master.api.put("/alerts/ops", {"http": HOOK})
    assert (refused.status, refused.code) == (409, "too_many_alerts")
    assert "podling alert delete" in refused.text
    assert (await master.api.put("/alerts/rule-1", {"http": HOOK})).status == 200
    assert (await master.api.delete("/alerts/rule-2")).status == 200
    assert (await master.api.put("/alerts/ops", {"http": HOOK})).status == 201
