"""Rules of alerts: made, read, tried, removed; and what a task may wish for itself."""

import base64
import logging
from collections.abc import Sequence
from dataclasses import replace

from podling.core.access import Principal, Role
from podling.core.alert_policy import SECRET_PREFIX, check_permitted, check_room, check_rule, kept_secret
from podling.core.alerts import AlertRule
from podling.core.errors import NotFound
from podling.core.spec import TaskSpec
from podling.core.value import value
from podling.master.alerts.delivery import Refused, Unreachable
from podling.master.alerts.office import AlertOffice
from podling.master.context import MasterContext
from podling.store.ports.alerts import Standing

_log = logging.getLogger(__name__)

SECRET_BYTES = 32


@value
class Tried:
    """What became of a test: what the receiver said, or why it was not delivered."""

    name: str
    delivered: bool
    answer: str


async def put(context: MasterContext, rule: AlertRule) -> tuple[AlertRule, bool, bool]:
    """Keep the rule; return it, whether it is new, and whether its secret was made here.

    Without a secret, one for a web hook stays what it was as long as the same host is called, or is made.
    Raises InvalidInput, Conflict.
    """
    check_rule(rule, context.options.alerts.permissions())
    rules = {known.name: known for known in await context.store.alerts.load_rules()}
    check_room(rules, rule.name)
    made = False
    if rule.http is not None and rule.secret is None:
        kept = kept_secret(rules.get(rule.name), rule.http)
        made = kept is None
        rule = replace(rule, secret=kept or _new_secret(context))
    is_new = await context.store.alerts.save_rule(rule)
    await context.alerts.learn()
    return rule, is_new, made


def _new_secret(context: MasterContext) -> str:
    drawn = context.draw_bits(SECRET_BYTES * 8).to_bytes(SECRET_BYTES, "big")
    return SECRET_PREFIX + base64.b64encode(drawn).decode()


async def get(context: MasterContext, name: str) -> tuple[AlertRule, Standing]:
    """Raises NotFound."""
    rule = await _find(context, name)
    if rule is None:
        raise NotFound.of("alert")
    return rule, (await context.store.alerts.standings()).get(name, Standing())


async def list_(context: MasterContext) -> Sequence[tuple[AlertRule, Standing]]:
    """Return all rules with how each fares, in the order of their names."""
    standings = await context.store.alerts.standings()
    rules = await context.store.alerts.load_rules()
    return [(rule, standings.get(rule.name, Standing())) for rule in rules]


async def remove(context: MasterContext, name: str) -> None:
    """What was on its way by the rule is given up, visibly. Raises NotFound."""
    if not await context.store.alerts.remove_rule(name):
        raise NotFound.of("alert")
    await context.alerts.learn()


async def test(context: MasterContext, office: AlertOffice, name: str) -> Tried:
    """Send a sample now. Raises NotFound."""
    rule, _ = await get(context, name)
    try:
        return Tried(name=name, delivered=True, answer=await office.test(rule))
    except (Unreachable, Refused) as failure:
        _log.info("the test of alert %s failed: %s", name, failure.message)
        return Tried(name=name, delivered=False, answer=failure.message)


async def check_wishes_of(context: MasterContext, spec: TaskSpec, principal: Principal) -> TaskSpec:
    """Return the specification, with what has to hold still when they are sent.

    Raises InvalidInput, PolicyDenied for wishes that cannot be met, or not for this one.
    """
    if not spec.alerts:
        return spec
    if any(wish.rule is not None and wish.rule not in context.alerts.rules for wish in spec.alerts):
        await context.alerts.learn()  # it may have been made at another master just now
    operator = principal.may(Role.OPERATOR)
    check_permitted(
        spec.alerts, context.alerts.rules, context.options.alerts.permissions(), operator=operator
    )
    wishes = [replace(wish, listed_only=not operator and wish.rule is None) for wish in spec.alerts]
    return replace(spec, alerts=tuple(wishes))


async def _find(context: MasterContext, name: str) -> AlertRule | None:
    return next((rule for rule in await context.store.alerts.load_rules() if rule.name == name), None)
