"""What a backplane remembers: the last items of each topic, and the ids of what has been published."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from hubbub.kernel import GraphError


class Kept:
    """The last items of each topic, for those who subscribe late.

    Topics are bounded, too: the one on which nothing was published for longest is forgotten first.

    Args:
        items: How many are kept of each topic.
        topics: Of how many topics.
    """

    def __init__(self, items: int, topics: int) -> None:
        self.items = items
        self._topics = topics
        self._kept: dict[str, deque[tuple[int, Any]]] = {}
        self._numbers = itertools.count()

    def add(self, topic: str, items: Sequence[Any]) -> None:
        """Keep ``items``, published on ``topic``."""
        kept = self._kept.pop(topic, None)
        if kept is None:
            kept = deque(maxlen=self.items)
            if len(self._kept) >= self._topics:
                del self._kept[next(iter(self._kept))]
        self._kept[topic] = kept
        kept.extend((next(self._numbers), item) for item in items[-self.items :])

    def last(self, matches: Callable[[str], object], count: int) -> list[tuple[str, Any]]:
        """Return the last ``count`` items of each topic that matches, with their topics, as they were published."""
        found = [
            (number, topic, item)
            for topic, kept in self._kept.items()
            if matches(topic)
            for number, item in list(kept)[-count:]
        ]
        found.sort(key=lambda entry: entry[0])
        return [(topic, item) for _, topic, item in found]


class Seen:
    """The ids of what has been published: a bounded number of them, the longest unseen goes first.

    Args:
        unique_by: Makes an item's id.
        remember: How many ids.
    """

    def __init__(self, unique_by: Callable[[Any], Hashable], remember: int) -> None:
        self._unique_by = unique_by
        self._remember = remember
        self._ids: dict[Hashable, None] = {}
        self.repeated = 0

    def is_new(self, item: Any) -> bool:
        """Note ``item``; return whether it had not been noted."""
        key = self._unique_by(item)
        ids = self._ids
        if key in ids:
            del ids[key]
            ids[key] = None
            self.repeated += 1
            return False
        ids[key] = None
        if len(ids) > self._remember:
            del ids[next(iter(ids))]
        return True


def check_count(value: int, least: int, what: str) -> None:
    """Refuse a count that makes no sense.

    Raises:
        GraphError: If ``value`` is less than ``least``.
    """
    if value < least:
        raise GraphError(f"{what} has to be at least {least}, not {value}")
