"""What tests of alerts share: quick retries, a task that fails, and what its timeline then tells."""

from typing import Any

from podling.core.spec import RetryPolicy
from podling.master.alerts.mail import MailServer
from podling.master.context import AlertOptions
from tests.master.fake_worker import FakeWorker
from tests.master.masters import RunningMaster, eventually
from tests.master.receivers import MailReceiver

SOON = RetryPolicy(base_seconds=0.02, factor=1, max_seconds=0.02, jitter=0)


def options(**more: Any) -> AlertOptions:
    return AlertOptions(**({"hosts": ("127.0.0.1",), "retry": SOON, "most_tries": 4} | more))


async def make(master: RunningMaster, name: str, **rule: Any) -> dict[str, Any]:
    answer = await master.api.put(f"/alerts/{name}", rule)
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def fail(master: RunningMaster, worker: FakeWorker, attempt: int = 1, **fields: Any) -> str:
    task_id = str((await master.api.submit(**fields))["taskId"])
    work = await worker.assigned(task_id, attempt)
    await worker.end(work, 1, error="it broke")
    return task_id


async def told(master: RunningMaster, task_id: str, type_: str) -> list[dict[str, Any]]:
    """Wait for lines of this type in the timeline."""

    async def find() -> list[dict[str, Any]]:
        lines = (await master.api.get(f"/tasks/{task_id}/timeline")).json
        return [line for line in lines if line["type"] == type_]

    return list(await eventually(find, f"a line {type_} of {task_id}"))


async def nothing_waits(master: RunningMaster, name: str) -> dict[str, Any]:
    async def find() -> dict[str, Any] | None:
        rule = (await master.api.get(f"/alerts/{name}")).json
        return rule if rule["pending"] == 0 and rule["lastAt"] else None

    return dict(await eventually(find, f"the end of what {name} has to send"))


def mail_server_of(mailbox: MailReceiver, **more: Any) -> MailServer:
    fields = {"host": "127.0.0.1", "port": mailbox.port, "encrypted": False, "sender": "podling@example.org"}
    return MailServer(**(fields | {"is_local": True} | more))
