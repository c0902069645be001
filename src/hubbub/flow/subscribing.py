"""Components that hear a backplane.

What is published is put into a box that the subscriber owns, by the one who publishes; from there the subscriber sends
it on, as fast as what comes after it takes it (FL1). If that is too slow, the box fills up, and the policy decides:

``disconnect``    the default: it is taken off, and its graph ends with `SubscriberTooSlowError`
``wait``          those who publish wait for it, if they can: a `PublishTo` and a `Join` can, `Backplane.publish` can't
``latest``, ``drop-oldest``, ``drop-newest``    items are dropped, and counted

It subscribes before anything of what is started together runs, so that nothing that is published by it is lost.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Any, Literal

from hubbub.flow.backplane import Backplane, Member, SubscriberChange, backplane_of
from hubbub.flow.box import ITEMS, Box, BoxState, WhenFull
from hubbub.flow.bus import Published, Sink, Subscription
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.draining import Hearer
from hubbub.flow.recalling import check_count
from hubbub.kernel import GraphError, Stopped, SubscriberTooSlowError

log = logging.getLogger("hubbub.flow")

WhenSlow = Literal["disconnect", "wait", "latest", "drop-oldest", "drop-newest"]
"""What becomes of a subscriber whose box is full."""

_BOX_POLICIES: dict[str, WhenFull] = {
    "disconnect": "wait",  # the box says that there is no room, the subscriber acts on it
    "wait": "wait",
    "latest": "latest",
    "drop-oldest": "drop-oldest",
    "drop-newest": "drop-newest",
}


class SubscribeTo(Hearer):
    """Send on what is published on a backplane.

    Args:
        name: Which backplane.
        pattern: A topic, or a pattern with ``*``, ``?`` and ``[...]`` as in file names.
        last: So many items of each topic that were published before come first, as far as the backplane keeps them.
        items: How many items wait at most, besides those that are being sent on.
        limit_bytes: How many bytes of them, or None for no such bound.
        when_full: What happens when they are more: see `hubbub.flow.subscribing`.
        who: What the subscriber is called in `Backplane.subscribers` and in logs; its path in the graph if it is left
            out. A server's protocol gives the peer here.

    Raises:
        GraphError: If a bound or the policy makes no sense; when it is started, also if there is no such backplane, or
            it does not keep ``last`` items.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {"outbox": box("what is published", loose=True)}

    _is_shown = True

    def __init__(
        self,
        name: str,
        pattern: str = "*",
        *,
        last: int = 0,
        items: int = ITEMS,
        limit_bytes: int | None = None,
        when_full: WhenSlow = "disconnect",
        who: str = "",
    ) -> None:
        check_count(last, 0, "last")
        check_count(items, 1, "items")
        if limit_bytes is not None:
            check_count(limit_bytes, 1, "limit_bytes")
        if when_full not in _BOX_POLICIES:
            raise GraphError(
                f"there is no policy {when_full!r} for a subscriber that is too slow; "
                f"there are {', '.join(_BOX_POLICIES)}"
            )
        self._name = name
        self._pattern = pattern
        self._last = last
        self._items = items
        self._limit_bytes = limit_bytes
        self._when_full = when_full
        self._who = who
        self._reason: BaseException | None = None
        self._at_work: asyncio.Task[Any] | None = None
        self._backplane: Backplane | None = None
        self._subscription: Subscription | None = None
        self._member: Member
        self._before: list[Any] = []

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {self._name}"

    @property
    def dropped(self) -> int:
        """How many items the policy has dropped."""
        return self._member.box.dropped

    def prepare(self) -> None:
        self._backplane = backplane_of(self, self._name)
        self._subscribe()

    async def main(self) -> None:
        self._at_work = asyncio.current_task()
        try:
            self._check_reason()
            if self._subscription is None and self._member.box.state is BoxState.STOPPED:
                self._subscribe()  # it failed, and was started again
            await self._work()
        except asyncio.CancelledError:
            if self._reason is not None and self._at_work is not None:
                self._at_work.uncancel()
            self._check_reason()
            raise
        finally:
            self._at_work = None

    def hears(self) -> Backplane:
        assert self._backplane is not None
        return self._backplane

    def is_idle(self) -> bool:
        box = self._member.box
        return box.is_read and not len(box)

    def finish(self) -> None:
        if self.running.runner.is_finishing:
            # Others may still have something to publish: the backplane knows when they have not.
            self.hears().finish()
        else:
            self._end_box()

    def withdraw(self) -> None:
        if self._backplane is not None:
            self._leave()
            self._member.box.stop()

    # ------------------------------------------------------------------------- parts

    async def _work(self) -> None:
        await self._send_on()

    async def _send_on(self) -> None:
        before, self._before = self._before, []
        if before:
            await self.send_all(before)
        box = self._member.box
        while True:
            await self.send_all(await box.take())

    def _subscribe(self) -> None:
        backplane = self._backplane
        assert backplane is not None
        path = self.running.path_of(self)
        box: Box[Any] = Box(
            f"{path} (on {self._name})",
            items=self._items,
            limit_bytes=self._limit_bytes,
            when_full=_BOX_POLICIES[self._when_full],
        )
        bound = self._items if self._when_full == "disconnect" else None
        self._member = Member(
            self._who or path, self._pattern, box, self._end_box, bound, self._is_shown
        )
        self._before = self._first(backplane)
        self._subscription = self._listen(backplane, self._arrives)
        backplane.enter(self._member)

    def _first(self, backplane: Backplane) -> list[Any]:
        """Return what the subscriber gets before anything that is published from now on."""
        return [item for _, item in backplane.kept(self._pattern, self._last)]

    def _listen(self, backplane: Backplane, sink: Sink) -> Subscription:
        return backplane.subscribe(self._pattern, sink)

    def _arrives(self, published: Published) -> None:
        if published.source is self:
            return
        items = published.items
        mine = self._member.box
        if mine.is_read:
            passed = self._pass_by(items)
            mine.passed += passed
            if passed == len(items):
                return
            items = items[passed:]
        taken = mine.offer_all(items)
        if taken < len(items):
            if self._when_full == "wait" and published.waits is not None:
                wait = functools.partial(mine.put_all, items[taken:])
                published.waits.append(wait)
            else:
                self._too_slow(published, len(items) - taken)

    def _pass_by(self, items: Sequence[Any]) -> int:
        """Put ``items`` where they are sent anyway: all else is sent, and it saves waking a task. Return how many."""
        outlets = self._out or ()
        if len(outlets) == 1:
            (outlet,) = outlets
            if type(outlet) is not Box or outlet.when_full != "wait":
                return 0
            try:
                return outlet.offer_all(items)
            except Stopped:
                return 0  # the subscriber finds out when it sends
        return 0 if outlets else len(items)

    def _too_slow(self, published: Published, refused: int) -> None:
        who = self._member.who
        box = self._member.box
        self._unsubscribe()
        dropped = len(box.stop()) + refused
        full = f"{box.limit_items} items" + (
            f" or {box.limit_bytes} bytes" if box.limit_bytes is not None else ""
        )
        error = SubscriberTooSlowError(
            f"{who} was taken off backplane {self._name!r}: it was too slow, with {full} waiting for it and more "
            f"on topic {published.topic!r}; {dropped} items are lost to it. Give it more room with items=, or another "
            "policy with when_full=",
            who=who,
            dropped=dropped,
        )
        log.warning("%s", error)
        self._leave("too slow")
        self._interrupt(error)

    def _interrupt(self, reason: BaseException) -> None:
        """Let `main` end with ``reason``."""
        self._reason = reason
        if self._at_work is not None:
            self._at_work.cancel()

    def _check_reason(self) -> None:
        reason, self._reason = self._reason, None
        if reason is not None:
            raise reason

    def _end_box(self) -> None:
        """Let the subscriber read to the end of what it has been given."""
        self._unsubscribe()
        self._member.box.finish()

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()

    def _leave(self, reason: str = "") -> None:
        self._unsubscribe()
        if self._backplane is not None:
            self._backplane.leave(self._member, reason)


class PresenceOf(SubscribeTo):
    """Send a `SubscriberChange` for everybody who hears a backplane: first those here, then as they come and go.

    Args:
        name: Which backplane.
        items: How many changes wait at most.
        when_full: As for `SubscribeTo`.

    Raises:
        GraphError: As for `SubscribeTo`.
    """

    outboxes: Boxes = {"outbox": box("who comes and goes", loose=True)}

    _is_shown = False

    def __init__(self, name: str, *, items: int = 1000, when_full: WhenSlow = "disconnect") -> None:
        super().__init__(name, items=items, when_full=when_full)

    def _first(self, backplane: Backplane) -> list[Any]:
        return [
            SubscriberChange(each.who, each.pattern, here=True) for each in backplane.subscribers()
        ]

    def _listen(self, backplane: Backplane, sink: Sink) -> Subscription:
        return backplane.watch_subscribers(sink)
