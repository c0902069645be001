"""A backplane: what is published on a topic reaches everybody who has subscribed to it.

It is a component, which gives its name to the runner that runs it, so that `PublishTo`, `SubscribeTo` and `Join` find
it; and it is a plain object with `publish` and `subscribe`, which needs no runner. Items go through a bus
(`hubbub.flow.bus`); what is remembered of them, and who is here, is the backplane's own.

    runs --asked to finish--> waits until nobody can publish any more --> its subscribers read to their ends --> ended

See `hubbub.flow.draining`.
"""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from hubbub.flow.box import Box
from hubbub.flow.bus import Bus, LocalBus, Published, Sink, Subscription
from hubbub.flow.component import Component
from hubbub.flow.declaring import Boxes
from hubbub.flow.draining import is_dry
from hubbub.flow.recalling import Kept, Seen, check_count
from hubbub.kernel import GraphError, Stopped

_LOOK_AGAIN_S = 0.02
"""How often a circle of backplanes that is asked to finish is looked at: nobody tells when it has come to rest."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who hears a backplane, as `Backplane.subscribers` tells it.

    Attributes:
        who: Its name.
        pattern: What it subscribed to.
        waiting: How many items wait for it.
        passed: How many it was given so far, those that wait included, dropped ones not.
        dropped: How many its policy has dropped.
    """

    who: str
    pattern: str
    waiting: int = 0
    passed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SubscriberChange:
    """Somebody came to a backplane, or went.

    Attributes:
        who: Its name.
        pattern: What it subscribed to.
        here: Whether it came.
        reason: Why it went, where that is not its own or its graph's end.
    """

    who: str
    pattern: str
    here: bool
    reason: str = ""


@dataclass(eq=False, slots=True)
class Member:
    """A subscriber with a box, as the backplane knows it.

    Attributes:
        who: Its name.
        pattern: What it subscribed to.
        box: Where its items wait.
        end: Called when nothing more will be published.
        bound: How many items at once it can take, if it is taken off where it can't; or None.
        is_shown: Whether others are told of it.
    """

    who: str
    pattern: str
    box: Box[Any]
    end: Callable[[], None]
    bound: int | None = None
    is_shown: bool = True


class Backplane(Component):
    """Publish and subscribe by topic. Belongs to one thread.

    As a component it lives as long as anything else in its run, and does not keep a run going: where only backplanes
    are left, the run ends. Asked to finish it waits until those who publish have ended, then lets its subscribers read
    what they have been given, and end (FL2).

    Args:
        name: What parts find it by, unique in a runner; also for logs and drawings.
        bus: What carries the items; a `LocalBus` of its own if it is left out.
        keep: How many items of each topic are kept for those who subscribe late and ask for them.
        topics: Of how many topics items are kept; the one longest without an item is forgotten first.
        unique_by: Makes an item's id. An item whose id has been published here already is not published again: that is
            how items end that go round in a ring of nodes.
        remember: How many ids are remembered; the longest unseen is forgotten first.

    Raises:
        GraphError: If a count makes no sense.

    Attributes:
        name: Its name.
        publishers: The components that may publish on it and have not ended.
    """

    inboxes: Boxes = {}
    outboxes: Boxes = {}
    passive = True

    def __init__(
        self,
        name: str = "",
        *,
        bus: Bus | None = None,
        keep: int = 0,
        topics: int = 1000,
        unique_by: Callable[[Any], Hashable] | None = None,
        remember: int = 10_000,
    ) -> None:
        check_count(keep, 0, "Backplane(keep=)")
        check_count(topics, 1, "Backplane(topics=)")
        check_count(remember, 1, "Backplane(remember=)")
        self.name = name
        self._bus: Bus = LocalBus() if bus is None else bus
        self._kept = Kept(keep, topics) if keep else None
        self._seen = Seen(unique_by, remember) if unique_by is not None else None
        self._members: dict[Member, None] = {}
        self._bounds: dict[int, int] = {}
        self.publishers: dict[Component, None] = {}
        self._changes = LocalBus()
        self._finishing = False
        self._looking: asyncio.TimerHandle | None = None
        if self._kept is not None:
            self._bus.subscribe("*", self._keep)

    @property
    def label(self) -> str:
        return f"Backplane {self.name}"

    # ------------------------------------------------------------------------ as a plain object

    def subscribe(self, pattern: str, sink: Sink, *, last: int = 0) -> Subscription:
        """Give every item published from now on under a topic that matches ``pattern`` to ``sink``.

        Args:
            pattern: A topic, or a pattern with ``*``, ``?`` and ``[...]`` as in file names.
            sink: Called with what is published, in publishing order. It must not wait.
            last: So many items of each topic that were published before are given to ``sink`` first, as far as they
                are kept.

        Raises:
            GraphError: If ``last`` is more than the backplane keeps.
        """
        for topic, item in self.kept(pattern, last):
            sink(Published(topic, (item,)))
        return self._bus.subscribe(pattern, sink)

    def kept(self, pattern: str, last: int) -> list[tuple[str, Any]]:
        """Return the last items of each topic that matches ``pattern``, with their topics, as they were published.

        Args:
            pattern: See `subscribe`.
            last: How many of each topic.

        Raises:
            GraphError: If ``last`` is more than the backplane keeps.
        """
        if last <= 0:
            return []
        if self._kept is None or last > self._kept.items:
            keeps = 0 if self._kept is None else self._kept.items
            raise GraphError(
                f"the last {last} items of backplane {self.name!r} were asked for, and it keeps {keeps}: "
                f"make it Backplane({self.name!r}, keep={last})"
            )
        return self._kept.last(re.compile(fnmatch.translate(pattern)).match, last)

    def publish(self, topic: str, item: Any) -> int:
        """Give ``item`` to all who subscribed to ``topic``. Return how many there were.

        A sink that raises is logged and does not keep the others from getting the item.
        """
        return self.publish_all(topic, (item,))

    def publish_all(self, topic: str, items: Sequence[Any], *, source: object = None) -> int:
        """Publish several items at once, which is the same as one after another, but in one call for each sink.

        Args:
            topic: Where.
            items: What, in order.
            source: Who publishes: a `Join` does not hear what it has said itself.
        """
        if self._seen is not None:
            items = [item for item in items if self._seen.is_new(item)]
            if not items:
                return 0
        return self._give(Published(topic, items, source))

    def subscriber_count(self, topic: str) -> int:
        """Return how many would get an item published on ``topic``."""
        return self._bus.subscriber_count(topic) - (self._kept is not None)

    # --------------------------------------------------------------- publishing by those who can wait

    async def hand_over(self, topic: str, items: Sequence[Any], *, source: object = None) -> None:
        """Publish ``items``, wait for subscribers whose policy it is to be waited for, and let all take a turn.

        Args:
            topic: Where.
            items: What, in order; they are published also where their ids have been seen: ask `is_new` before.
            source: Who publishes.
        """
        most = min(self._bounds, default=len(items) or 1)
        for start in range(0, len(items), most):
            part = items if len(items) <= most else items[start : start + most]
            published = Published(topic, part, source)
            published.waits = []
            self._give(published)
            for wait in published.waits:
                try:
                    await wait()
                except Stopped:
                    pass  # it went meanwhile
            await asyncio.sleep(0)

    def is_new(self, item: Any) -> bool:
        """Note ``item`` by ``unique_by``; return whether it is to be published."""
        return self._seen is None or self._seen.is_new(item)

    @property
    def checks_ids(self) -> bool:
        """Whether `is_new` looks at items at all."""
        return self._seen is not None

    @property
    def repeated(self) -> int:
        """How many items were not published because their ids had been published before."""
        return 0 if self._seen is None else self._seen.repeated

    def _give(self, published: Published) -> int:
        return self._bus.publish(published) - (self._kept is not None)

    def _keep(self, published: Published) -> None:
        assert self._kept is not None
        self._kept.add(published.topic, published.items)

    # -------------------------------------------------------------------------------- who is here

    def subscribers(self) -> list[Subscriber]:
        """Return the components that hear this backplane, in the order in which they came."""
        return [
            Subscriber(each.who, each.pattern, len(each.box), each.box.passed, each.box.dropped)
            for each in self._members
            if each.is_shown
        ]

    def watch_subscribers(self, sink: Sink) -> Subscription:
        """Give a `SubscriberChange` to ``sink`` whenever a subscriber comes or goes. Those here are not told."""
        return self._changes.subscribe("", sink)

    def enter(self, member: Member) -> None:
        """``member`` hears from now on."""
        self._members[member] = None
        if member.bound is not None:
            self._bounds[member.bound] = self._bounds.get(member.bound, 0) + 1
        self._tell(member, here=True)

    def leave(self, member: Member, reason: str = "") -> None:
        """``member`` hears nothing more. Idempotent."""
        if member not in self._members:
            return
        del self._members[member]
        if member.bound is not None:
            self._bounds[member.bound] -= 1
            if not self._bounds[member.bound]:
                del self._bounds[member.bound]
        self._tell(member, here=False, reason=reason)

    def publisher_came(self, publisher: Component) -> None:
        """``publisher`` may publish from now on."""
        self.publishers[publisher] = None

    def publisher_went(self, publisher: Component) -> None:
        """``publisher`` publishes nothing more. Idempotent."""
        self.publishers.pop(publisher, None)
        self._look()

    def _tell(self, member: Member, *, here: bool, reason: str = "") -> None:
        if member.is_shown:
            change = SubscriberChange(member.who, member.pattern, here, reason)
            self._changes.publish(Published("", (change,)))

    # ------------------------------------------------------------------------------ as a component

    async def main(self) -> None:
        await asyncio.get_running_loop().create_future()

    def provide(self) -> None:
        names = self.running.runner.names
        if (Backplane, self.name) in names:
            raise GraphError(
                f"there are two backplanes called {self.name!r} in one run: give one another name"
            )
        names[Backplane, self.name] = self

    def finish(self) -> None:
        self._finishing = True
        self._look()

    def withdraw(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        names = self.running.runner.names
        if names.get((Backplane, self.name)) is self:
            del names[Backplane, self.name]
        for member in list(self._members):
            member.end()

    def _look(self) -> None:
        """Let everybody come to an end if nobody is left who could publish, and it is time for it."""
        if not self._finishing or not self.running.lives(self):
            return
        dry = is_dry(self)
        if dry:
            self.running.cancel(self)
        elif dry is None and (self._looking is None or self._looking.when() <= _now()):
            self._looking = asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._look)


def _now() -> float:
    return asyncio.get_running_loop().time()


def backplane_of(component: Component, name: str) -> Backplane:
    """Return the backplane called ``name`` in the run of ``component``.

    Raises:
        GraphError: If there is none.
    """
    names = component.running.runner.names
    found = names.get((Backplane, name))
    if isinstance(found, Backplane):
        return found
    there = ", ".join(repr(key[1]) for key in names if key[0] is Backplane) or "none"
    raise GraphError(
        f"{component.label} looks for a backplane {name!r}, and there is none in this run; there are: {there}. "
        f"Run Backplane({name!r}) beside it"
    )
