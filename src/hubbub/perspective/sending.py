"""`hubbub.publish` and `hubbub.subscribe`: items for whoever listens now, without storing them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from hubbub.kernel import NoTransactionError
from hubbub.perspective.notices import PublishNotice
from hubbub.space import context


def publish(topic: str, item: Any) -> None:
    """Send ``item`` to all who are subscribed to ``topic``, when the transaction is durable (PE3).

    Raises:
        NoTransactionError: Outside a transaction.
    """
    context.required("hubbub.publish()").notices.append(PublishNotice(topic, item))


class Subscribe(AsyncIterator[Any]):
    """What `subscribe` returns. The host takes it from a stream's body and wires it without a task."""

    def __init__(self, topic: str) -> None:
        self.topic = topic

    async def __anext__(self) -> Any:
        raise NoTransactionError(
            "hubbub.subscribe() works as what a @stream returns; the host reads it"
        )


def subscribe(topic: str) -> AsyncIterator[Any]:
    """Return the items published on ``topic`` from now on, as what a ``@stream`` returns.

    Args:
        topic: A topic, or a pattern with ``*``, ``?`` and ``[...]``.
    """
    return Subscribe(topic)
