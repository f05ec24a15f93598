"""Requests for streams, to the worker's session wherever it is: here, or at another master."""

import logging
from dataclasses import dataclass, replace

from podling.core.errors import InvalidInput, PodlingError, Unavailable
from podling.master.context import MasterContext
from podling.master.sessions.registry import Sessions
from podling.master.sessions.streams import DIAL_SECONDS, Streams
from podling.store.base import PeerMessage
from podling.wire.peers import StreamDenied, StreamWanted, pack, unpack
from podling.wire.session import OpenStream

_log = logging.getLogger(__name__)

ANSWER_SECONDS = DIAL_SECONDS * 2  # who asked has given up long before
NOT_CONNECTED = "the node is not connected"


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom to tell if the worker cannot, and until when that is of interest."""

    master_id: str
    until: float


class Relay:
    """Masters meet only in the store: they leave messages there, and the worker dials who has asked."""

    def __init__(self, context: MasterContext, sessions: Sessions, streams: Streams) -> None:
        self._context = context
        self._sessions = sessions
        self._streams = streams
        self._asked: dict[str, _Asked] = {}

    async def ask(self, node_id: str, request: OpenStream) -> None:
        """Have the node's worker told of the request. Raises Unavailable if nobody can do that."""
        session = self._sessions.get(node_id)
        if session is not None and not session.closing:
            session.send(request)
            return
        wanted = StreamWanted(
            asking=self._context.options.master_id,
            node_id=node_id,
            request=replace(request, url=self._context.options.advertise_url),
        )
        await self._leave(self._holder(node_id), wanted)

    def _holder(self, node_id: str) -> str:
        """Return the master that holds the node's session. Raises Unavailable."""
        node = self._context.view.node(node_id)
        if node is None or not node.is_online or node.master_id is None:
            raise Unavailable(NOT_CONNECTED)
        known = self._context.masters.get(node.master_id)
        if known is None or not known.alive or node.master_id == self._context.options.master_id:
            raise Unavailable(NOT_CONNECTED)
        return node.master_id

    async def run_once(self) -> float | None:
        """Take what other masters have left, and do it. Raises StoreUnavailable."""
        self._forget_old()
        for body in await self._context.store.take_messages(self._context.options.master_id):
            try:
                await self._take(unpack(body))
            except InvalidInput as error:
                _log.warning("a message was left aside: %s", error.message)
        return None

    async def _take(self, message: object) -> None:
        match message:
            case StreamWanted():
                await self._pass_on(message)
            case StreamDenied(stream_id=stream_id, error=error):
                self._streams.refuse(stream_id, error)

    async def _pass_on(self, wanted: StreamWanted) -> None:
        session = self._sessions.get(wanted.node_id)
        if session is None or session.closing:
            await self._deny(wanted.asking, wanted.request.stream_id, NOT_CONNECTED)
        elif not session.goes_to_masters:
            error = "the worker is too old to send its log to another master"
            await self._deny(wanted.asking, wanted.request.stream_id, error)
        else:
            until = self._context.clock.monotonic() + ANSWER_SECONDS
            self._asked[wanted.request.stream_id] = _Asked(wanted.asking, until)
            session.send(wanted.request)

    async def refused(self, stream_id: str, error: str) -> None:
        """Tell whoever asked that the worker cannot serve the stream."""
        asked = self._asked.pop(stream_id, None)
        if asked is None:
            self._streams.refuse(stream_id, error)
            return
        try:
            await self._deny(asked.master_id, stream_id, error)
        except PodlingError as failure:
            _log.info("another master was not told of a refused stream: %s", failure.message)

    async def _deny(self, master_id: str, stream_id: str, error: str) -> None:
        await self._leave(master_id, StreamDenied(stream_id=stream_id, error=error))

    async def _leave(self, master_id: str, message: StreamWanted | StreamDenied) -> None:
        await self._context.store.post([PeerMessage(recipient=master_id, body=pack(message))])

    def _forget_old(self) -> None:
        now = self._context.clock.monotonic()
        self._asked = {stream_id: asked for stream_id, asked in self._asked.items() if asked.until > now}
