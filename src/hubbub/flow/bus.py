"""What carries published items from those who publish to those who subscribed: an interface, and the local one.

Publishing never waits. A subscriber gives a function that takes items at once and keeps its own bound and policy for
what it can't pass on (PE5). What is published together reaches each subscriber in one call, and is wrapped once for all
of them, so that each encoding is made once.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Protocol

log = logging.getLogger("hubbub.flow")

_WILD = frozenset("*?[")

_TOPICS = 10_000
"""Of so many topics it is remembered who gets what is published on them."""


class Published:
    """Items on their way, with a place for their encoded forms.

    Attributes:
        topic: Where they were published.
        items: What, in order; at least one.
        source: Who published them, where that was said: a member that wants to hear everybody but itself looks here.
        encoded: What subscribers have made of them, for the next ones; each names it as it likes.
        waits: Where the publisher can wait, subscribers without room put here what it is to call and wait for; None
            where it can't.
    """

    __slots__ = ("encoded", "items", "source", "topic", "waits")

    def __init__(self, topic: str, items: Sequence[Any], source: object = None) -> None:
        self.topic = topic
        self.items = items
        self.source = source
        self.encoded: dict[Hashable, Any] = {}
        self.waits: list[Callable[[], Awaitable[None]]] | None = None


Sink = Callable[[Published], None]


class Subscription:
    """One subscriber of a topic or a pattern of topics. `close` ends it.

    Args:
        bus: Where it subscribed.
        pattern: To what.
        sink: Called with what is published.
    """

    __slots__ = ("_bus", "pattern", "sink")

    def __init__(self, bus: Bus, pattern: str, sink: Sink) -> None:
        self._bus: Bus | None = bus
        self.pattern = pattern
        self.sink = sink

    def close(self) -> None:
        """Stop receiving, also what is being published just now. Idempotent."""
        bus, self._bus = self._bus, None
        if bus is not None:
            self.sink = _nowhere
            bus.unsubscribe(self)


class Bus(Protocol):
    """What a backplane needs of what is under it.

    `LocalBus` joins what is in one thread. One that joins processes, say through a NATS server, has to promise as much:

    - What one publisher publishes on one topic reaches every subscriber in that order, once, together or in parts.
    - Sinks are called in the thread that subscribed, one at a time, and never while ``subscribe`` itself runs.
    - ``subscribe`` holds from its return on for what this process publishes; for what others publish, from when the
      server has it.
    - `Published.source` is the same object again in the process that published, and None in all others. What is waited
      for (`Published.waits`) are the subscribers in the process that published.
    - A connection that breaks is made good without a hole, or ends its subscriptions loudly: nothing is skipped
      silently. What is kept for a connection that is away is bounded.
    """

    def subscribe(self, pattern: str, sink: Sink) -> Subscription:
        """Give every item published from now on under a topic that matches ``pattern`` to ``sink``.

        Args:
            pattern: A topic, or a pattern with ``*``, ``?`` and ``[...]`` as in file names.
            sink: Called with what is published, in publishing order. It must not wait.
        """
        ...

    def unsubscribe(self, subscription: Subscription) -> None:
        """Call the sink of ``subscription`` no more. Called by `Subscription.close`, once."""
        ...

    def publish(self, published: Published) -> int:
        """Give ``published`` to all who subscribed to its topic. Return how many there were, as far as is known here.

        A sink that raises is logged and does not keep the others from getting it.
        """
        ...

    def subscriber_count(self, topic: str) -> int:
        """Return how many would get an item published on ``topic``, as far as is known here."""
        ...


class LocalBus:
    """Joins those who publish and those who subscribe in one thread.

    Who gets a topic is looked up once and remembered until subscriptions change: publishing costs one call for each
    subscriber, however many patterns there are.
    """

    def __init__(self) -> None:
        self._exact: dict[str, dict[Subscription, None]] = {}
        self._patterns: dict[Subscription, Callable[[str], object]] = {}
        self._receivers: dict[str, tuple[Subscription, ...]] = {}

    def subscribe(self, pattern: str, sink: Sink) -> Subscription:
        """See `Bus.subscribe`."""
        subscription = Subscription(self, pattern, sink)
        if is_pattern(pattern):
            self._patterns[subscription] = re.compile(fnmatch.translate(pattern)).match
            self._receivers.clear()
        else:
            self._exact.setdefault(pattern, {})[subscription] = None
            self._receivers.pop(pattern, None)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Bus.unsubscribe`."""
        pattern = subscription.pattern
        if self._patterns.pop(subscription, None) is not None:
            self._receivers.clear()
            return
        exact = self._exact[pattern]
        del exact[subscription]
        if not exact:
            del self._exact[pattern]
        self._receivers.pop(pattern, None)

    def publish(self, published: Published) -> int:
        """See `Bus.publish`."""
        topic = published.topic
        receivers = self._receivers.get(topic)
        if receivers is None:
            receivers = self._look_up(topic)
        for subscription in receivers:
            try:
                subscription.sink(published)
            except Exception:
                log.exception("a subscriber of %r failed", topic)
        return len(receivers)

    def subscriber_count(self, topic: str) -> int:
        """See `Bus.subscriber_count`."""
        receivers = self._receivers.get(topic)
        return len(self._look_up(topic) if receivers is None else receivers)

    def _look_up(self, topic: str) -> tuple[Subscription, ...]:
        found = [*self._exact.get(topic, ())]
        found += [each for each, matches in self._patterns.items() if matches(topic)]
        if len(self._receivers) >= _TOPICS:
            self._receivers.clear()
        receivers = self._receivers[topic] = tuple(found)
        return receivers


def is_pattern(text: str) -> bool:
    """Whether ``text`` may match several topics."""
    return not _WILD.isdisjoint(text)


def _nowhere(_published: Published) -> None:
    """Take what comes to a subscription that was closed while it was being published."""
