"""A message to send, for tests of single senders."""

from podling.core.alert_message import message_of
from podling.core.alerts import Alert, AlertEvent, Facts
from podling.master.alerts.delivery import Content
from tests.builders import NOW


def content() -> Content:
    facts = Facts(task_id="task-1", name="nightly", status="failed", attempt=1, exit_code=1)
    alert = Alert(alert_id="msg_1", line="ops", rule="ops", event=AlertEvent.FAILED, at=NOW, facts=facts)
    return Content(message=message_of([alert]), body=b"{}", text="it failed\n")
