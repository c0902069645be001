"""What a watch and a stream hold for a reader that is slower than the host (PE5, LV1)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from hubbub.kernel import ClosedError, HubbubError, LocalProtocolError
from hubbub.perspective.client.events import Subscription

if TYPE_CHECKING:
    from hubbub.perspective.client.connection import ClientConnection

WAITING_ITEMS = 1000
"""Items of a stream that wait for their reader; past that all are dropped, and a gap stands in their place."""


class Change(msgspec.Struct, frozen=True):
    """How an answer became the newest one.

    Attributes:
        value: The newest answer.
        set: Of a dict: the keys that are new or have another value.
        deleted: Of a dict: the keys that are gone.
        whole: The answer has come whole: begin afresh. ``set`` holds all of a dict then, ``deleted`` nothing.
    """

    value: Any
    set: dict[Any, Any]
    deleted: frozenset[Any]
    whole: bool


class _Feed:
    """What both have in common: one reader that waits, and an end.

    Attributes:
        connection: Whose it is.
        subscription: The protocol's side of it.
        fallback: Begins it again another way, once, when the reference it is on has been forgotten.
        on_news: Called when there is something to take.
    """

    def __init__(self) -> None:
        self.connection: ClientConnection | None = None
        self.subscription: Subscription | None = None
        self.fallback: Callable[[], None] | None = None
        self.on_news: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: HubbubError | None = None

    def ended(self, error: HubbubError | None) -> None:
        """There is no more."""
        fallback, self.fallback = self.fallback, None
        if fallback is not None and error is not None and error.code == "unknown_reference":
            fallback()
            return
        self._ended = True
        self._error = error
        self._wake()

    def close(self) -> None:
        """The user has left: what was not taken is dropped."""
        self.fallback = None
        self.ended(None)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self.on_news is not None:
            self.on_news()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise LocalProtocolError(
                "somebody waits for this watch or stream already; open another one"
            )
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _check_end(self) -> None:
        """Raise what the iterator of a feed that has ended raises."""
        error = self._error
        if error is None or (type(error) is ClosedError and error.code == "closed"):
            raise StopAsyncIteration
        raise error


class AnswerFeed(_Feed):
    """The newest answer of a watch. Older ones that nobody took are passed over; it never goes back."""

    def __init__(self) -> None:
        super().__init__()
        self._news = False
        self._whole = True
        self._set: dict[Any, Any] = {}
        self._deleted: dict[Any, None] = {}

    def answered(self, patch: list[list[Any]] | None) -> None:
        """`Subscription.value` is a new answer, by ``patch`` or whole."""
        if patch is None:
            self._whole = True
            self._set.clear()
            self._deleted.clear()
        elif not self._whole:
            for operation in patch:
                if operation[0] == "k":
                    self._set[operation[1]] = operation[2]
                    self._deleted.pop(operation[1], None)
                elif operation[0] == "d":
                    self._set.pop(operation[1], None)
                    self._deleted[operation[1]] = None
        self._news = True
        self._wake()

    def close(self) -> None:
        self._news = False
        super().close()

    @property
    def has_news(self) -> bool:
        """Whether there is something that was not taken, or the end."""
        return self._news or self._ended

    def take(self) -> Change:
        """Return the newest answer and what has changed since the last one taken.

        Raises:
            StopAsyncIteration: It is over.
            HubbubError: It was ended, for this reason.
        """
        if self._ended and (self._error is not None or not self._news):
            self._check_end()
        assert self.subscription is not None
        value = self.subscription.value
        # The next patch is applied to our own: what the user does with theirs must not matter.
        value = value.copy() if type(value) in (list, dict) else value
        whole, self._whole, self._news = self._whole, False, False
        if whole:
            changed, deleted = (dict(value) if type(value) is dict else {}), frozenset[Any]()
        else:
            changed, deleted = self._set, frozenset(self._deleted)
        self._set, self._deleted = {}, {}
        return Change(value, changed, deleted, whole)

    async def next(self) -> Change:
        """The same, waiting until there is one."""
        while not self.has_news:
            await self._wait()
        return self.take()


class _GapMark(msgspec.Struct, frozen=True):
    reason: str


class ItemFeed(_Feed):
    """The items of a stream that wait for their reader, in order, with gaps where some are missing.

    Attributes:
        gaps: How many gaps the reader has passed.

    Args:
        on_gap: Told, with the reason, when the reader passes one.
    """

    def __init__(self, on_gap: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.gaps = 0
        self._on_gap = on_gap
        self._items: deque[Any] = deque()

    def streamed(self, item: Any) -> None:
        """There is a new item."""
        if len(self._items) >= WAITING_ITEMS:
            self._items.clear()
            self.missed("slow")
        self._items.append(item)
        self._wake()

    def missed(self, reason: str) -> None:
        """Something is missing here."""
        if not (self._items and isinstance(self._items[-1], _GapMark)):
            self._items.append(_GapMark(reason))
            self._wake()

    def close(self) -> None:
        self._items.clear()
        super().close()

    @property
    def has_news(self) -> bool:
        """Whether there is an item, a gap or the end."""
        return bool(self._items) or self._ended

    def take(self) -> tuple[Any, ...]:
        """Return the next item as a tuple of one; an empty one if only a gap was there.

        Raises:
            StopAsyncIteration: It is over.
            HubbubError: It was ended, for this reason.
        """
        while self._items:
            item = self._items.popleft()
            if not isinstance(item, _GapMark):
                return (item,)
            self.gaps += 1
            if self._on_gap is not None:
                self._on_gap(item.reason)
        if self._ended:
            self._check_end()
        return ()

    async def next(self) -> Any:
        """Return the next item, waiting until there is one."""
        while True:
            taken = self.take()
            if taken:
                return taken[0]
            await self._wait()
