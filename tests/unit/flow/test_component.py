"""What a component says in its main: sending, receiving from several boxes, keeping items back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Component, Finished, Graphline, Pipeline, Runner, Token
from hubbub.kernel import ClosedError, ComponentFailedError, GraphError
from tests.unit.flow.stand_ins import Forever, Idle, Seen, Tracking


class Two(Component):
    """Reads two inboxes, the urgent one first; gives up after ``timeout_s`` without anything."""

    inboxes = {"urgent": "what goes first", "inbox": "all else"}

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s

    async def main(self) -> None:
        while True:
            try:
                where, item = await self.receive("urgent", "inbox", timeout_s=self._timeout_s)
            except TimeoutError:
                await self.send(("nothing", None))
                return
            await self.send((where, item))


async def test_of_several_boxes_the_first_named_goes_first_and_the_end_is_that_of_all() -> None:
    seen = Seen()
    await Graphline(
        some=[1, 2, 3],
        first=["a", "b"],
        two=Two(),
        seen=seen,
        linkages=["some -> two", "first -> two.urgent", "two -> seen"],
    )
    assert sorted(seen.items, key=str) == sorted(
        [("urgent", "a"), ("urgent", "b"), ("inbox", 1), ("inbox", 2), ("inbox", 3)], key=str
    )
    assert [item for where, item in seen.items if where == "urgent"] == ["a", "b"]
    assert [item for where, item in seen.items if where == "inbox"] == [1, 2, 3]


async def test_waiting_for_several_boxes_can_time_out_and_nothing_is_lost_by_it() -> None:
    seen = Seen()
    idle = Idle()
    idle.outboxes = {"outbox": "nothing"}
    async with Runner() as runner:
        running = runner.start(
            Graphline(
                some=[1],
                idle=idle,
                two=Two(timeout_s=0.02),
                seen=seen,
                linkages=["some -> two", "idle -> two.urgent", "two -> seen"],
            )
        )
        while ("nothing", None) not in seen.items:
            await asyncio.sleep(0)
        running.finish()
        await running
    assert seen.items == [("inbox", 1), ("nothing", None)]


async def test_receive_without_names_waits_for_all_inboxes_and_says_when_they_are_read() -> None:
    ends: list[type] = []

    class All(Component):
        inboxes = {"inbox": "one", "other": "another"}
        outboxes = {}

        async def main(self) -> None:
            got = [await self.receive() for _ in range(2)]
            assert sorted(got) == [("inbox", 1), ("other", 2)]
            try:
                await self.receive()
            except Finished as end:
                ends.append(type(end))

    await Graphline(a=[1], b=[2], all=All(), linkages=["a -> all", "b -> all.other"])
    assert ends == [Finished]


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda me: me.send(1, "nowhere"), "has no outbox 'nowhere'; it has 'outbox', 'error'"),
        (lambda me: me.receive("nowhere"), "has no inbox 'nowhere'; it has 'inbox'"),
    ],
)
async def test_a_box_that_does_not_exist_is_told_with_those_there_are(call: Any, text: str) -> None:
    class Wrong(Component):
        outboxes = {"outbox": "items", "error": "what went wrong"}

        async def main(self) -> None:
            await call(self)

    wrong = Wrong()
    with pytest.raises(ComponentFailedError) as failed:
        await Graphline(
            a=[1], wrong=wrong, b=Seen(), c=Seen(), linkages=["a -> wrong -> b", "wrong.error -> c"]
        )
    assert isinstance(failed.value.__cause__, GraphError)
    assert text in str(failed.value.__cause__)


async def test_sending_to_what_is_linked_to_nothing_says_how_to_mend_it() -> None:
    class Speaks(Component):
        async def main(self) -> None:
            await self.send("hello")

    with pytest.raises(
        ComponentFailedError, match=r"linked to nothing; link it, or declare it loose"
    ):
        await Speaks()


def test_boxes_are_there_only_while_it_runs() -> None:
    seen = Seen()
    with pytest.raises(ClosedError, match="does not run"):
        _ = seen.inbox
    with pytest.raises(GraphError, match="has no inbox 'inbox'; it has none"):
        _ = Forever().inbox
    with pytest.raises(ClosedError, match="does not run"):
        _ = seen.running


async def test_what_is_kept_back_is_handled_only_when_what_came_of_it_is() -> None:
    class Pairs(Component):
        async def main(self) -> None:
            first: Any = None
            kept: tuple[Token, ...] = ()
            async for item in self.inbox:
                if first is None:
                    first, kept = item, self.keep()
                    continue
                self.resume(kept)
                await self.send((first, item))
                first, kept = None, ()

    source, seen = Tracking(range(5)), Seen()
    held: list[int] = []

    async def look(pair: Any) -> Any:
        held.append(len(source.handled))
        return pair

    await Pipeline(source, Pairs(), look, seen)
    assert seen.items == [(0, 1), (2, 3)]
    # 4 was kept back, and nothing came of it: nobody has handled it.
    assert sorted(source.handled) == [0, 1, 2, 3]
    assert held[0] == 0
