"""How much is on its way at most (FL1): what the boxes hold, and what is in hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.flow import Component, Graphline, box

Part = tuple[str, int]


class Counted(Component):
    """A source that counts what it has sent."""

    inboxes = {}

    def __init__(self, count: int) -> None:
        self.sent = 0
        self._count = count

    async def main(self) -> None:
        for number in range(self._count):
            await self.send(number)
            self.sent += 1


class OneByOne(Component):
    async def main(self) -> None:
        async for item in self.inbox:
            await self.send(item)


class Slow(Component):
    """Reads one item now and then, and looks how many are on their way."""

    outboxes = {}

    def __init__(self, source: Counted, pauses: int) -> None:
        self.read = 0
        self.most = 0
        self._source = source
        self._pauses = pauses

    async def main(self) -> None:
        async for item in self.inbox:
            assert item == self.read
            for _ in range(self._pauses):
                await asyncio.sleep(0)
            self.most = max(self.most, self._source.sent - self.read)
            self.read += 1


async def passed(item: Any) -> Any:
    return item


KINDS: dict[str, Any] = {
    "component": lambda: OneByOne(),
    "async function": lambda: passed,
    "function": lambda: lambda item: item,
}


@pytest.mark.rule("FL1")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 7)), max_size=5),
    st.integers(1, 7),
    st.integers(1, 12),
)
def test_no_more_is_on_its_way_than_boxes_and_hands_hold(
    parts: list[Part], last: int, pauses: int
) -> None:
    source = Counted(200)
    sink = Slow(source, pauses)
    names = [f"part{number}" for number in range(len(parts))]
    made: dict[str, Any] = {
        name: KINDS[kind]() for name, (kind, _) in zip(names, parts, strict=True)
    }
    bounds = [bound for _, bound in parts] + [last]
    graph = Graphline(
        source=source,
        sink=sink,
        **made,
        linkages=[" -> ".join(["source", *names, "sink"])],
        boxes={
            name: box(items=bound) for name, bound in zip([*names, "sink"], bounds, strict=True)
        },
    )
    asyncio.run(asyncio.wait_for(_run(graph), 20))
    assert sink.read == 200
    # A function takes all that is in its box at once; the others have one item in hand. The sink has one, too.
    hands = sum(bound if kind == "function" else 1 for kind, bound in parts) + 1
    assert sink.most <= sum(bounds) + hands


async def _run(graph: Graphline) -> None:
    await graph
