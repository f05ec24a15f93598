"""What follows from a commit that went over another master's."""

from podling.core.lifecycle import Assign, Cancel, apply
from podling.core.task import StopReason
from podling.core.view import View
from podling.master.committer import Applied
from podling.master.feed import Feed
from tests.builders import NOW
from tests.core.clusters import wanting


def test_what_another_master_changed_just_before_is_told_with_the_own_change() -> None:
    """Else its order would reach no worker: the feed brings it when the view knows more already."""
    view, told = View(), []
    feed = Feed(view)
    feed.listen(told.extend)
    given = apply(wanting({"cpu": 100}), Assign(node_id="node-1"), NOW).task
    cancelled = apply(given, Cancel(), NOW).task

    feed.publish([Applied(given, cancelled)])
    assert [change.before for change in told] == [None], "nobody here knew of the assignment"
    assert told[0].after.stop_reason is StopReason.CANCEL
    feed.publish([Applied(cancelled, cancelled)])
    assert told[1].before is cancelled
