"""One item to many, to one of many, or to the one that fits; many to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.flow.chassis import named_parts
from hubbub.flow.component import Component, Outlets, box_of, is_stopped
from hubbub.flow.declaring import Boxes, Declared, box
from hubbub.flow.functions import as_component
from hubbub.flow.graph import Graph, Linkage, Place
from hubbub.flow.waiting import room_in_any
from hubbub.kernel import GraphError, Stopped


class PassThrough(Component):
    """Send on what comes, to all that its outbox is linked to."""

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "the same"}

    async def main(self) -> None:
        inbox = self.inbox
        while True:
            await self.send_all(await inbox.take())


class Share(Component):
    """Send each item to one of those that the outbox is linked to: the next in turn that has room.

    Where none has room it waits until one has. One that has ended is passed by.
    """

    inboxes: Boxes = {"inbox": "anything"}
    outboxes: Boxes = {"outbox": "the same, each item to one"}

    async def main(self) -> None:
        turn = 0
        outlets = self.outlets()
        inbox = self.inbox
        while True:
            items = iter(await inbox.take())
            for item in items:
                turn += 1
                try:
                    await self._share(item, outlets, turn)
                except BaseException:
                    inbox.put_back([item, *items])
                    raise

    async def _share(self, item: Any, outlets: Outlets, turn: int) -> None:
        count = len(outlets)
        while True:
            open_ones = 0
            for step in range(count):
                target = outlets[(turn + step) % count]
                if not is_stopped(target):
                    open_ones += 1
                    if target.offer(item):
                        return
            if not open_ones:
                raise Stopped("none of those that share the items reads on")
            await self._hold(room_in_any([box_of(target) for target in outlets]))


class FanOut(Graph):
    """Give each item to all of ``parts``; what they make of it leaves by one outbox.

    The slowest sets the pace, unless its inbox has a policy of its own.

    Raises:
        GraphError: If a part has no inbox.
    """

    def __init__(self, *parts: Any, name: str = "") -> None:
        _spread(self, "all", PassThrough(), parts, name)


class Parallel(Graph):
    """Run ``parts`` side by side; each item goes to one of them, in turn, passing by those that have no room.

    For work that takes its time: ``Parallel(*[Threaded(resize) for _ in range(4)])``. The order of items is not kept.

    Raises:
        GraphError: If a part has no inbox.
    """

    def __init__(self, *parts: Any, name: str = "") -> None:
        _spread(self, "share", Share(), parts, name)


class Merge(Graph):
    """Run ``sources`` side by side; what they send leaves by one outbox, each source's items in order.

    Raises:
        GraphError: If a source has an inbox that is not loose, or no outbox.
    """

    def __init__(self, *sources: Any, name: str = "") -> None:
        named = named_parts([as_component(source) for source in sources])
        if not named:
            raise GraphError("a Merge needs at least one source")
        super().__init__(
            named, [], {}, {"outbox": [Place(part, "outbox") for part in named]}, name=name
        )


class Duplex(Graph):
    """Join two parts both ways: what ``a`` sends comes to ``b``, and what ``b`` sends to ``a``.

    Raises:
        GraphError: If both pass on what comes in, so that the two could fill each other up: then one inbox needs a
            policy.
    """

    def __init__(self, a: Any, b: Any, *, name: str = "") -> None:
        named = named_parts([as_component(a), as_component(b)])
        first, second = named
        super().__init__(
            named,
            [
                Linkage(Place(first, "outbox"), Place(second, "inbox")),
                Linkage(Place(second, "outbox"), Place(first, "inbox")),
            ],
            {},
            {},
            name=name,
        )


class Router(Component):
    """Send each item by the first rule that it fulfils: ``Router(critical=is_fire, important=is_smoke)``.

    What fulfils none leaves by the outbox ``otherwise``, which has to be linked.

    Args:
        drop: Whether what fulfils no rule may be dropped, so that ``otherwise`` may stay unlinked.
        rules: For each outbox, in order, a function that says of an item whether it is to go there.

    Raises:
        GraphError: If there is no rule, or one is called ``otherwise``.
    """

    def __init__(self, *, drop: bool = False, **rules: Callable[[Any], Any]) -> None:
        if not rules:
            raise GraphError("a Router needs at least one rule: Router(errors=is_error)")
        if "otherwise" in rules:
            raise GraphError(
                "'otherwise' is where a Router sends what fulfils no rule; name the rule differently"
            )
        self._rules = list(rules.items())
        outboxes: dict[str, str | Declared] = {name: f"what {name} is true of" for name in rules}
        outboxes["otherwise"] = box("what fulfils no rule", loose=drop)
        self.outboxes = outboxes

    async def main(self) -> None:
        async for item in self.inbox:
            for name, rule in self._rules:
                if rule(item):
                    await self.send(item, name)
                    break
            else:
                await self.send(item, "otherwise")


def _spread(
    graph: Graph, name: str, spreader: Component, parts: tuple[Any, ...], label: str
) -> None:
    named = named_parts([as_component(part) for part in parts])
    if not named:
        raise GraphError(f"a {type(graph).__name__} needs at least one part")
    while name in named:
        name += "_"
    giving = [part for part, component in named.items() if "outbox" in component.outboxes]
    Graph.__init__(
        graph,
        {name: spreader, **named},
        [Linkage(Place(name, "outbox"), Place(part, "inbox")) for part in named],
        {"inbox": [Place(name, "inbox")]},
        {"outbox": [Place(part, "outbox") for part in giving]} if giving else {},
        name=label,
    )
