"""A backplane: what is published on a topic reaches everybody who has subscribed to it.

Publishing never waits. A subscriber gives a function that takes items at once and keeps its own bound and policy for
what it can't pass on (PE5). What is published together reaches each subscriber in one call, and is wrapped once for all
of them, so that each encoding is made once.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

log = logging.getLogger("hubbub.flow")

_WILD = frozenset("*?[")


class Published:
    """Items on their way, with a place for their encoded forms.

    Attributes:
        topic: Where they were published.
        items: What, in order; at least one.
        encoded: What subscribers have made of them, for the next ones; each names it as it likes.
    """

    __slots__ = ("encoded", "items", "topic")

    def __init__(self, topic: str, items: Sequence[Any]) -> None:
        self.topic = topic
        self.items = items
        self.encoded: dict[Hashable, Any] = {}


Sink = Callable[[Published], None]


class Subscription:
    """One subscriber of a topic or a pattern of topics. `close` ends it."""

    __slots__ = ("_backplane", "pattern", "sink")

    def __init__(self, backplane: Backplane, pattern: str, sink: Sink) -> None:
        self._backplane: Backplane | None = backplane
        self.pattern = pattern
        self.sink = sink

    def close(self) -> None:
        """Stop receiving. Idempotent."""
        if self._backplane is not None:
            self._backplane._remove(self)
            self._backplane = None


class Backplane:
    """Publish and subscribe by topic. Belongs to one thread.

    Args:
        name: For logs and drawings.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._exact: dict[str, dict[Subscription, None]] = {}
        self._patterns: dict[Subscription, None] = {}

    def subscribe(self, pattern: str, sink: Sink) -> Subscription:
        """Give every item published from now on under a topic that matches ``pattern`` to ``sink``.

        Args:
            pattern: A topic, or a pattern with ``*``, ``?`` and ``[...]`` as in file names.
            sink: Called with what is published, in publishing order. It must not wait.
        """
        subscription = Subscription(self, pattern, sink)
        if _WILD & set(pattern):
            self._patterns[subscription] = None
        else:
            self._exact.setdefault(pattern, {})[subscription] = None
        return subscription

    def publish(self, topic: str, item: Any) -> int:
        """Give ``item`` to all who subscribed to ``topic``. Return how many there were.

        A sink that raises is logged and does not keep the others from getting the item.
        """
        return self.publish_all(topic, (item,))

    def publish_all(self, topic: str, items: Sequence[Any]) -> int:
        """Publish several items at once, which is the same as one after another, but in one call for each sink."""
        subscribers = list(self._exact.get(topic, ()))
        if self._patterns:
            subscribers += [s for s in self._patterns if fnmatch.fnmatchcase(topic, s.pattern)]
        if not subscribers:
            return 0
        published = Published(topic, items)
        for subscription in subscribers:
            try:
                subscription.sink(published)
            except Exception:
                log.exception("a subscriber of %r failed", topic)
        return len(subscribers)

    def subscriber_count(self, topic: str) -> int:
        """Return how many would get an item published on ``topic``."""
        patterns = sum(fnmatch.fnmatchcase(topic, s.pattern) for s in self._patterns)
        return len(self._exact.get(topic, ())) + patterns

    def _remove(self, subscription: Subscription) -> None:
        self._patterns.pop(subscription, None)
        exact = self._exact.get(subscription.pattern)
        if exact is not None:
            exact.pop(subscription, None)
            if not exact:
                del self._exact[subscription.pattern]
