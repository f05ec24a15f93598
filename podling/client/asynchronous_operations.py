"""Nodes, tokens, alerts, policy and the cluster: a method for each route that a program needs."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Unpack, cast

from podling.client import alerts, cluster, decisions, nodes, queues, tokens
from podling.client.asynchronous_base import PAGE
from podling.client.asynchronous_dead_letters import AsyncDeadLetters
from podling.client.asynchronous_schedules import AsyncSchedules
from podling.client.asynchronous_workflows import AsyncWorkflows
from podling.client.models import Cluster, Master, Node
from podling.client.operator_models import (
    Alert,
    AlertFields,
    AlertMade,
    AlertTried,
    AuditEntry,
    Decision,
    Examination,
    Metrics,
    NewToken,
    PolicyInForce,
    Queue,
    QueueFields,
    Token,
)


class AsyncOperations(AsyncDeadLetters, AsyncSchedules, AsyncWorkflows):
    """What an operator's program does."""

    def nodes(
        self,
        *,
        status: str | None = None,
        labels: Sequence[str] = (),
        limit: int | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[Node]:
        """Yield nodes, the newest registration first and at most `limit`, page by page."""
        listing = partial(nodes.listing, status=status, labels=labels)
        return cast(AsyncIterator[Node], self.items(listing, limit=limit, page=page))

    async def node(self, node_id: str) -> Node:
        """Return a node. Raises NotFound."""
        return cast(Node, await self.send(nodes.read(node_id)))

    async def cordon(self, node_id: str) -> Node:
        """Give the node no new work; what runs there goes on."""
        return cast(Node, await self.send(nodes.cordon(node_id)))

    async def uncordon(self, node_id: str) -> Node:
        """Let the node take work again; it ends a drain too."""
        return cast(Node, await self.send(nodes.uncordon(node_id)))

    async def drain(self, node_id: str, *, deadline_seconds: float | None = None) -> Node:
        """Begin to empty the node; what still runs after the deadline is stopped and goes elsewhere."""
        return cast(Node, await self.send(nodes.drain(node_id, deadline_seconds)))

    async def remove_node(self, node_id: str, *, lost: bool = False, held: str | None = None) -> None:
        """Take the node off the list. Raises Conflict while it is online or has work.

        With `lost` you vouch that nothing runs there any more; `held` is what becomes of tasks that
        would wait for it: `retry`, `completed`, `failed` or `cancelled`.
        """
        await self.send(nodes.remove(node_id, lost=lost, held=held))

    async def revoke_node(self, node_id: str) -> None:
        """End the node's own credential and its session; what runs there goes on for a lease."""
        await self.send(nodes.revoke(node_id))

    def tokens(self, *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[Token]:
        """Yield tokens without their secrets, the newest first, those that have ended too."""
        return cast(AsyncIterator[Token], self.items(tokens.listing, limit=limit, page=page))

    async def create_token(
        self,
        name: str,
        role: str | None = None,
        *,
        expires_seconds: float | None = None,
        uses: int | None = None,
        node_id: str | None = None,
    ) -> NewToken:
        """Make a token; the answer's `token` is its secret, shown this once.

        The first of all is an admin's. `uses` and `node_id` go with the role `join`: how many machines
        it lets in, or the only one. Raises Conflict while another live one has the name.
        """
        call = tokens.create(name, role, expires_seconds, uses=uses, node_id=node_id)
        return cast(NewToken, await self.send(call))

    async def revoke_token(self, token_id: str) -> Token:
        """End a token, and what goes on with it; a second time changes nothing."""
        return cast(Token, await self.send(tokens.revoke(token_id)))

    def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[AuditEntry]:
        """Yield who changed what and who was refused, the newest first. Times are in RFC 3339.

        `action` is a method, or a method and the pattern of a route.
        """
        listing = partial(tokens.audit, actor=actor, action=action, outcome=outcome, since=since, until=until)
        return cast(AsyncIterator[AuditEntry], self.items(listing, limit=limit, page=page))

    async def alerts(self) -> list[Alert]:
        """Return the rules of alerts by their names."""
        return cast(list[Alert], await self.send(alerts.listing()))

    async def alert(self, name: str) -> Alert:
        """Return a rule, and how it fares. Raises NotFound."""
        return cast(Alert, await self.send(alerts.read(name)))

    async def save_alert(self, name: str, **fields: Unpack[AlertFields]) -> AlertMade:
        """Make the rule, or replace it; the fields are those of `PUT /alerts/{name}`.

        The answer has a `secret` if one was made, and never again.
        """
        return cast(AlertMade, await self.send(alerts.save(name, fields)))

    async def remove_alert(self, name: str) -> None:
        """Remove a rule; what it had still to send is given up."""
        await self.send(alerts.remove(name))

    async def test_alert(self, name: str) -> AlertTried:
        """Send a sample now; return whether it was delivered, and what the receiver said."""
        return cast(AlertTried, await self.send(alerts.test(name)))

    def queues(self, *, limit: int | None = None, page: int = PAGE) -> AsyncIterator[Queue]:
        """Yield queues that were used or declared, by name, page by page."""
        return cast(AsyncIterator[Queue], self.items(queues.listing, limit=limit, page=page))

    async def queue(self, name: str) -> Queue:
        """Return a queue. Raises NotFound."""
        return cast(Queue, await self.send(queues.read(name)))

    async def save_queue(self, name: str, **limits: Unpack[QueueFields]) -> Queue:
        """Declare the queue, or replace all of its limits: what is not named is off."""
        return cast(Queue, await self.send(queues.save(name, limits)))

    async def remove_queue(self, name: str) -> None:
        """Remove a queue. Raises Conflict while it has tasks that have not ended, or a schedule names it."""
        await self.send(queues.remove(name))

    async def pause_queue(self, name: str) -> Queue:
        """Start nothing of the queue any more; what runs goes on, and submits are taken."""
        return cast(Queue, await self.send(queues.pause(name)))

    async def resume_queue(self, name: str) -> Queue:
        """Let a paused queue go on."""
        return cast(Queue, await self.send(queues.resume(name)))

    async def policy(self) -> PolicyInForce:
        """Return the policy in force at the master that answers."""
        return cast(PolicyInForce, await self.send(decisions.policy()))

    def decisions(
        self,
        *,
        task: str | None = None,
        code: str | None = None,
        incoming: bool = False,
        limit: int | None = None,
        page: int = PAGE,
    ) -> AsyncIterator[Decision]:
        """Yield what was refused, the newest first; `incoming`: only what was when it came in."""
        listing = partial(decisions.listing, task=task, code=code, incoming=incoming)
        return cast(AsyncIterator[Decision], self.items(listing, limit=limit, page=page))

    async def cluster(self) -> Cluster:
        """Return masters, leader and counts."""
        return cast(Cluster, await self.send(cluster.read()))

    async def masters(self) -> list[Master]:
        """Return the masters, as the one that answers sees them."""
        return (await self.cluster())["masters"]

    async def metrics(self) -> Metrics:
        """Return what the master that answers counted in the last minute, and what it holds."""
        return cast(Metrics, await self.send(cluster.metrics()))

    async def doctor(self, scope: str = "cluster") -> Examination:
        """Return what is wrong, the worst first; with the scope `master`, only of the master that answers."""
        return cast(Examination, await self.send(cluster.doctor(scope)))
