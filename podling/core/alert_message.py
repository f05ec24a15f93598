"""What is sent: one message about one alert, or about many that came too fast for one each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from podling.core.alerts import Alert, AlertEvent, Facts, joint_id
from podling.core.value import value

MOST_NAMED = 20  # of the others, when one message stands for many
_LONGEST_SUBJECT = 200

_VERBS = {
    AlertEvent.FAILED: "failed",
    AlertEvent.COMPLETED: "completed",
    AlertEvent.CANCELLED: "was cancelled",
    AlertEvent.RETRYING: "failed and will be tried again",
    AlertEvent.LOST: "was lost",
    AlertEvent.HELD: "is held",
}


@value
class Message:
    """`message_id` lets a receiver know again what it has had already."""

    message_id: str
    subject: str
    alerts: tuple[Alert, ...]

    @property
    def first(self) -> Alert:
        return self.alerts[0]


def message_of(alerts: Sequence[Alert]) -> Message:
    """Return the one message about these alerts, of which the first is told whole."""
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    return Message(
        message_id=joint_id(alerts), subject=f"podling: {headline(alerts[0])}{more}", alerts=tuple(alerts)
    )


def headline(alert: Alert) -> str:
    """Return `NAME failed on NODE: exit code 1`, in one line."""
    facts = alert.facts
    if alert.event is AlertEvent.NODE_LOST:
        words = f"node {facts.host or facts.node_id} is lost"
    else:
        where = facts.host or facts.node_id
        words = f"{facts.name} {_VERBS[alert.event]}{f' on {where}' if where else ''}{_why(alert)}"
    line = "".join(character if character.isprintable() else " " for character in words)
    return line if len(line) <= _LONGEST_SUBJECT else line[: _LONGEST_SUBJECT - 1] + "…"


def _why(alert: Alert) -> str:
    facts = alert.facts
    if alert.event is AlertEvent.COMPLETED:
        return ""
    if facts.exit_code:
        return f": exit code {facts.exit_code}"
    return f": {facts.error_code}" if facts.error_code else ""


def body_of(message: Message, cluster_id: str) -> Mapping[str, Any]:
    """Return the body of a web hook, and of what a command reads, as plain data but for the facts."""
    first, others = message.first, message.alerts[1:]
    return {
        "id": message.message_id,
        "type": f"task.{first.event}" if first.facts.task_id else "node.lost",
        "timestamp": first.at,
        "clusterId": cluster_id,
        "rule": first.rule,
        "text": message.subject,
        "data": first.facts,
        "moreCount": len(others),
        "more": [
            {
                "type": str(other.event),
                "timestamp": other.at,
                "taskId": other.facts.task_id,
                "text": headline(other),
            }
            for other in others[:MOST_NAMED]
        ],
    }


def text_of(message: Message, summary: str, log: str) -> str:
    """Return a mail's text; `summary` says why, `log` is the end of the task's output."""
    facts = message.first.facts
    parts = [summary or message.subject, *_table(message.first, facts)]
    if others := message.alerts[1:]:
        parts.append(
            f"And {len(others)} more:\n" + "\n".join(f"  {_named(other)}" for other in others[:MOST_NAMED])
        )
        if len(others) > MOST_NAMED:
            parts[-1] += f"\n  … and {len(others) - MOST_NAMED} that are not named here"
    if log:
        parts.append(f"The end of its output:\n\n{log}")
    if facts.task_id:
        parts.append(f"More: podling explain {facts.task_id}; podling logs {facts.task_id}")
    return "\n\n".join(parts) + "\n"


def _named(alert: Alert) -> str:
    return f"{headline(alert)} ({alert.facts.task_id})" if alert.facts.task_id else headline(alert)


def _table(alert: Alert, facts: Facts) -> list[str]:
    rows = {
        "Task": facts.task_id,
        "Name": facts.name,
        "Queue": facts.queue,
        "Status": facts.status,
        "Attempt": facts.attempt or None,
        "Node": facts.host or facts.node_id,
        "Exit code": facts.exit_code,
        "Error": " ".join(filter(None, (facts.error_code, facts.error))) or None,
        "Started": _time(facts.started_at),
        "Ended": _time(facts.finished_at),
        "Next attempt": _time(facts.next_attempt_at),
        "Told at": _time(alert.at),
    }
    return ["\n".join(f"{name + ':':<14}{item}" for name, item in rows.items() if item is not None)]


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")
