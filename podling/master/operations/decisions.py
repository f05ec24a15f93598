"""Reading what was refused, and keeping what nodes have refused."""

from collections.abc import Sequence

from podling.core.decision import Decision, refusal
from podling.core.errors import PolicyDenied
from podling.core.permissions import rule_in
from podling.core.protocol import Report
from podling.core.retry import ErrorCode
from podling.master.context import MasterContext
from podling.store.ports.decisions import DecisionQuery


async def find(context: MasterContext, query: DecisionQuery) -> Sequence[Decision]:
    """Return decisions, newest first; this master's own are all there. Raises StoreUnavailable."""
    await context.decisions.run_once()
    return await context.store.decisions.find(query)


def note_report(context: MasterContext, node_id: str, report: Report) -> None:
    """Keep a node's own refusal as a decision too; it ended the attempt already."""
    if report.error_code != ErrorCode.POLICY_DENIED:
        return
    details = {"rule": rule_in(report.error or ""), "nodeId": node_id, "attempt": report.attempt}
    denied = PolicyDenied(report.error or "its node's policy denies it", details=details)
    context.decisions.note(
        refusal(denied, context.clock.now(), actor=f"node {node_id}", task_id=report.task_id)
    )
