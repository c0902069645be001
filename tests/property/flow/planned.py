"""Random graphs, and what a plain model says comes out of them.

A plan is a tree of stages. Each stage is identity but for how often it sends an item on: so what has to come out is a
count for each item, and the model is one recursive function.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hubbub.flow import (
    Backoff,
    Carousel,
    Component,
    FanOut,
    Graphline,
    Parallel,
    Restart,
    Router,
    Sequence,
    ThreadedComponent,
    Token,
    WhenFull,
    box,
)

Kind = Literal[
    "component", "function", "async", "generator", "transformer", "threaded",
    "slow", "some", "none", "twice", "odd", "sequence", "carousel",
    "pipeline", "fan-out", "parallel", "router", "ring",
]  # fmt: skip
LEAVES: tuple[Kind, ...] = (
    "component", "function", "async", "generator", "transformer", "threaded",
    "slow", "twice", "odd", "sequence", "carousel", "ring",
)  # fmt: skip
NODES: tuple[Kind, ...] = ("pipeline", "fan-out", "parallel", "router", "sequence", "carousel")


@dataclass(frozen=True)
class Plan:
    """One stage.

    Attributes:
        kind: What it is.
        inner: What it is made of.
        bound: How many items the boxes in it hold.
        fails_at: Items at which it fails, each once.
        item: What becomes of such an item; None where it does not restart.
    """

    kind: Kind
    inner: tuple[Plan, ...] = ()
    bound: int = 1
    fails_at: frozenset[int] = frozenset()
    item: Literal["skip", "again"] | None = "again"

    @property
    def has_threads(self) -> bool:
        return self.kind == "threaded" or any(plan.has_threads for plan in self.inner)


class Mistake(Exception):  # noqa: N818 - an expected one
    """What a stage fails with that is planned to."""


class _Stage(Component):
    """Send on each item ``times``, and fail as planned."""

    def __init__(self, plan: Plan, times: int = 1, sleeps: bool = False) -> None:
        self.inboxes = {"inbox": box("items", items=plan.bound)}
        self._fails_at = set(plan.fails_at)
        self._times = times
        self._sleeps = sleeps
        if plan.item is not None:
            self.restart = Restart(
                limit=1000, backoff=Backoff(first_s=0.5, most_s=0.5, jitter=0), item=plan.item
            )

    async def main(self) -> None:
        async for item in self.inbox:
            if self._sleeps:
                await asyncio.sleep(0.1 * (item % 4))
            if item in self._fails_at:
                self._fails_at.discard(item)
                raise Mistake(f"at {item}")
            for _ in range(self._times):
                await self.send(item)


class _Threaded(ThreadedComponent):
    def __init__(self, plan: Plan) -> None:
        self.inboxes = {"inbox": box("items", items=plan.bound)}
        self._fails_at = set(plan.fails_at)
        if plan.item is not None:
            self.restart = Restart(
                limit=1000, backoff=Backoff(first_s=0.5, most_s=0.5, jitter=0), item=plan.item
            )

    def main(self) -> None:
        for item in self.inbox:
            if item in self._fails_at:
                self._fails_at.discard(item)
                raise Mistake(f"at {item}")
            self.send(item)


class _Round(Component):
    """Send each item round so many times before it goes out."""

    inboxes = {"inbox": "items", "again": box("them again", items=100_000, when_full="fail")}
    outboxes = {"outbox": "items", "round": "them, and how often"}

    def __init__(self, plan: Plan) -> None:
        self.inboxes = {**_Round.inboxes, "inbox": box("items", items=plan.bound)}

    async def main(self) -> None:
        while True:
            name, item = await self.receive("again", "inbox")
            item, times = item if name == "again" else (item, item % 3)
            if times:
                await self.send((item, times - 1), "round")
            else:
                await self.send(item)


async def _same(item: int) -> int:
    return item


async def _slowly(item: int) -> int:
    await asyncio.sleep(0.05)
    return item


def _each(item: int) -> Any:
    yield item


def _odd(item: int) -> int | None:
    return item if item % 2 else None


async def _transform(items: Any) -> Any:
    async for item in items:
        yield item


def build(plan: Plan) -> Any:
    """Return what ``plan`` says."""
    inner = [build(part) for part in plan.inner]
    match plan.kind:
        case "component" | "none" | "some":
            return _Stage(plan)
        case "twice":
            return _Stage(plan, times=2)
        case "slow":
            return _Stage(plan, sleeps=True)
        case "threaded":
            return _Threaded(plan)
        case "function":
            return lambda item: item
        case "async":
            return _slowly if plan.bound % 2 else _same
        case "generator":
            return _each
        case "transformer":
            return _transform
        case "odd":
            return _odd
        case "sequence":
            return Sequence(*(inner or [_Stage(plan)]))
        case "carousel":
            made = inner[0] if inner else _Stage(plan)
            return Graphline(
                carousel=Carousel(lambda _: made, first=0), never=[], after=lambda item: item,
                linkages=["self -> carousel -> after -> self", "never -> carousel.next"],
            )  # fmt: skip
        case "ring":
            return Graphline(
                round=_Round(plan), way=lambda item: item,
                linkages=["self -> round -> self", "round.round -> way -> round.again"],
            )  # fmt: skip
        case "pipeline":
            return _line(inner, plan.bound)
        case "fan-out":
            return FanOut(*inner)
        case "parallel":
            return Parallel(*(build(calm(part)) for part in plan.inner))
        case "router":
            return _router(inner)


def calm(plan: Plan) -> Plan:
    """Return ``plan`` so that as much comes out as goes in: then it does not matter who gets which item."""
    changing = plan.kind in ("twice", "odd", "fan-out", "router")
    kind = "component" if changing else plan.kind
    return replace(plan, kind=kind, inner=tuple(map(calm, plan.inner)), item="again")


def _line(parts: list[Any], bound: int) -> Graphline:
    named = {f"p{n}": part for n, part in enumerate(parts)}
    return Graphline(
        **named,
        linkages=["self -> " + " -> ".join(named) + " -> self"],
        boxes={name: box("bounded", items=bound) for name in named},
    )


def _router(inner: list[Any]) -> Graphline:
    parts = {f"p{n}": part for n, part in enumerate(inner)}
    rules: dict[str, Any] = {
        f"r{n}": (lambda item, n=n: item % len(inner) == n) for n in range(len(inner))
    }
    return Graphline(
        router=Router(drop=True, **rules),
        **parts,
        linkages=[
            "self -> router",
            *(f"router.r{n} -> p{n}" for n in range(len(inner))),
            *(f"p{n} -> self" for n in range(len(inner))),
        ],
    )


def copies(plan: Plan, item: int, times: int = 1) -> int:
    """Return how often ``item`` comes out of ``plan`` when it goes in ``times``.

    Each stage fails once at each item, so with ``skip`` one of them is lost, however many there are.
    """
    if plan.item == "skip" and item in plan.fails_at and times and fails(plan):
        times -= 1
    match plan.kind:
        case "twice":
            return 2 * times
        case "odd":
            return times if item % 2 else 0
        case "fan-out":
            return sum(copies(part, item, times) for part in plan.inner)
        case "router":
            return copies(plan.inner[item % len(plan.inner)], item, times)
        case "pipeline" | "sequence" | "carousel":
            for part in plan.inner[:1] if plan.kind != "pipeline" else plan.inner:
                times = copies(part, item, times)
            return times
        case _:
            return times


def fails(plan: Plan) -> bool:
    """Whether it is a stage that does fail where it is planned to."""
    return plan.kind in ("component", "slow", "twice", "threaded") or (
        plan.kind in ("sequence", "carousel") and not plan.inner
    )


class Source(Component):
    """Send items with tokens; know which were handled, and how often."""

    inboxes = {}

    def __init__(self, items: Iterable[int], pause_s: float) -> None:
        self._items = items
        self._pause_s = pause_s
        self.begun: list[int] = []
        self.handled: Counter[int] = Counter()

    async def main(self) -> None:
        for item in self._items:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            self.begun.append(item)
            self.resume((Token(self._done, item),))
            await self.send(item)
            for kept in self.keep():
                kept.release()

    def _done(self, token: Token) -> None:
        self.handled[token.position] += 1


class Sink(Component):
    """Count what comes."""

    outboxes = {}

    def __init__(self, bound: int, when_full: WhenFull, pause_s: float) -> None:
        self.inboxes = {"inbox": box("items", items=bound, when_full=when_full)}
        self._pause_s = pause_s
        self.got: Counter[int] = Counter()

    async def main(self) -> None:
        async for item in self.inbox:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            self.got[item] += 1


@dataclass(frozen=True)
class Run:
    """What is to happen.

    Attributes:
        plan: The graph between sources and sink.
        counts: How many items each source sends.
        pauses_s: How long the sources and the sink pause before each item.
        bound: How many items the sink's inbox holds.
        when_full: What it does when it is full.
        after: What is done to the graph, and after how many seconds.
    """

    plan: Plan
    counts: tuple[int, ...] = (5,)
    pauses_s: tuple[float, float] = (0, 0)
    bound: int = 1
    when_full: WhenFull = "wait"
    after: tuple[Literal["finish", "stop"], float] | None = None
    made: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
