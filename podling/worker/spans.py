"""Where the time of an attempt's start went, kept for a while for whoever asks."""

from collections import OrderedDict
from datetime import datetime

from podling.core.protocol import AttemptKey
from podling.core.value import value

MOST_KEPT = 1000


@value
class StartSpans:
    """Seconds of the engine's own calls, and when the call that started the container returned."""

    prepare_seconds: float = 0.0
    start_seconds: float = 0.0
    start_returned_at: datetime | None = None


class Spans:
    """The newest attempts' spans."""

    def __init__(self) -> None:
        self._kept: OrderedDict[AttemptKey, StartSpans] = OrderedDict()

    def get(self, key: AttemptKey) -> StartSpans:
        return self._kept.get(key) or StartSpans()

    def put(self, key: AttemptKey, spans: StartSpans) -> None:
        self._kept[key] = spans
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
