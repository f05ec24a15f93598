"""What happened to a task, as the command shows it."""

import json

from tests.cli.conftest import Cli
from tests.cli.fake_master import FakeMaster


def test_a_timeline_of_several_pages_is_shown_whole(cli: Cli, master: FakeMaster) -> None:
    at = "2026-01-01T00:00:00.000000Z"
    lines = [{"at": at, "type": f"line-{number}", "details": {}} for number in range(1201)]
    master.timelines[master.add_task("hello")["taskId"]] = lines
    assert json.loads(cli("timeline", "hello", "--json").out) == lines
    assert sum(request["path"].endswith("/timeline") for request in master.requests) == 3


def test_explain_and_timeline_name_hosts_instead_of_whole_ids(cli: Cli, master: FakeMaster) -> None:
    node_id = "01a2194f-b691-7983-be48-9f9a25857d2c"
    master.nodes = [{"nodeId": node_id, "hostname": "worker-1"}]
    task = master.add_task("job", "running", nodeId=node_id)
    master.explanations[task["taskId"]] = {
        "summary": f"It runs on node {node_id}.",
        "reasons": [{"code": "x", "message": f"node worker-1 ({node_id}) is slow"}],
        "nodes": [{"nodeId": node_id, "fits": True, "lacks": []}],
        "advice": f"Look at node {node_id}.",
    }
    at = "2026-01-01T00:00:00.000000Z"
    master.timelines[task["taskId"]] = [
        {
            "at": at,
            "type": "started",
            "attempt": 1,
            "actor": "worker",
            "message": f"started on node {node_id}, which is worker-1 ({node_id})",
        }
    ]
    for command in (("explain",), ("timeline",), ("dlq", "show")):
        shown = cli(*command, "job")
        assert shown.out.count("worker-1") == shown.out.count("(01a2194f-b691)")
        assert "node worker-1 (01a2194f-b691)" in shown.out
        assert node_id not in shown.out
        assert node_id in cli(*command, "job", "--json").out
