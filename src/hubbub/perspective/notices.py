"""What a transaction sends: released by the host when its commit is durable, in commit order; dropped if it aborts
(PE3)."""

from __future__ import annotations

from typing import Any


class MindNotice:
    """Call a method of some sessions' minds."""

    __slots__ = ("args", "kwargs", "method", "session_ids")

    def __init__(
        self,
        session_ids: tuple[str, ...],
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.session_ids = session_ids
        self.method = method
        self.args = args
        self.kwargs = kwargs


class PublishNotice:
    """Publish an item on a topic of the hub's backplane."""

    __slots__ = ("item", "topic")

    def __init__(self, topic: str, item: Any) -> None:
        self.topic = topic
        self.item = item


class TimerNotice:
    """Timer ``oid`` of a session now has this period, or has ended (None)."""

    __slots__ = ("oid", "period", "session_id")

    def __init__(self, session_id: str, oid: int, period: float | None) -> None:
        self.session_id = session_id
        self.oid = oid
        self.period = period


class EndSessionNotice:
    """End a session: it is replaced by another, or its avatar is gone."""

    __slots__ = ("reason", "session_id")

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id = session_id
        self.reason = reason
