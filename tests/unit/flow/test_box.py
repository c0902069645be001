"""A box alone: its bound, its policies, its ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.flow import Box, BoxState, Token, Tracked
from hubbub.flow.bounds import POLICIES, WhenFull, size_of
from hubbub.kernel import BoxFullError, Finished, GraphError, Stopped


def box_of(*items: Any, bound: int = 3, when_full: WhenFull = "wait") -> Box[Any]:
    """Return a box with ``items`` in it."""
    box: Box[Any] = Box("b", items=bound, when_full=when_full)
    box.put_back(items)
    return box


async def turns(count: int = 3) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    box: Box[int] = Box(items=10)
    assert box.offer_all([1, 2, 3]) == 3
    assert await box.get() == 1
    assert box.offer(4)
    assert [box.get_nowait() for _ in range(3)] == [2, 3, 4]
    with pytest.raises(IndexError):
        box.get_nowait()


@pytest.mark.rule("FL1")
async def test_senders_wait_for_room_and_come_first_served() -> None:
    box = box_of(0, bound=1)
    putting = [asyncio.create_task(box.put(number)) for number in (1, 2, 3)]
    await turns()
    assert (box.waiting_writers, len(box)) == (3, 1)
    got = []
    for _ in range(4):
        got.append(await box.get())
        await turns()
        assert len(box) <= 1
    assert got == [0, 1, 2, 3]
    await asyncio.gather(*putting)


@pytest.mark.rule("FL1")
async def test_nobody_overtakes_a_sender_that_waits() -> None:
    box = box_of(0, bound=1)
    waiting = asyncio.create_task(box.put(1))
    await turns()
    assert box.get_nowait() == 0
    assert not box.offer("quick")  # there is room, and it is somebody else's
    await waiting
    assert box.take_nowait() == [1]


@pytest.mark.parametrize("when", ["before its turn", "at its turn"])
async def test_a_cancelled_sender_has_sent_nothing_and_hands_its_turn_on(when: str) -> None:
    box = box_of(0, bound=1)
    first, second = (asyncio.create_task(box.put(number)) for number in (1, 2))
    await turns()
    if when == "at its turn":
        box.get_nowait()
    first.cancel()
    await turns()
    if when == "before its turn":
        box.get_nowait()
    await second
    assert first.cancelled()
    assert (box.take_nowait(), box.waiting_writers) == ([2], 0)


@pytest.mark.parametrize("when", ["empty", "just filled"])
async def test_a_cancelled_reader_has_taken_nothing(when: str) -> None:
    box: Box[int] = Box()
    reading = asyncio.create_task(box.get())
    await turns()
    if when == "just filled":
        box.offer(1)
    reading.cancel()
    await turns()
    assert reading.cancelled()
    assert not box.is_read
    box.offer(2)
    assert box.take_nowait() == ([1, 2] if when == "just filled" else [2])


async def test_put_all_waits_in_the_middle_and_keeps_its_order() -> None:
    box: Box[int] = Box(items=2)
    putting = asyncio.create_task(box.put_all([1, 2, 3, 4, 5]))
    got = [await box.get() for _ in range(5)]
    await putting
    assert got == [1, 2, 3, 4, 5]


async def test_put_some_says_how_many_are_in() -> None:
    box: Box[int] = Box(items=2)
    assert await box.put_some([1, 2, 3, 4], 1) == 2
    assert box.take_nowait() == [2, 3]


async def test_a_batch_waits_behind_a_sender_that_waits() -> None:
    box = box_of(0, bound=2)
    await box.put("x")
    one = asyncio.create_task(box.put("y"))
    await turns()
    many = asyncio.create_task(box.put_all([1, 2]))
    got = [await box.get() for _ in range(5)]
    await asyncio.gather(one, many)
    assert got == [0, "x", "y", 1, 2]


@pytest.mark.parametrize(
    "when_full, left, dropped",
    [
        ("latest", [9], 3),
        ("drop-oldest", [2, 3, 9], 1),
        ("drop-newest", [1, 2, 3], 1),
    ],
)
async def test_a_policy_drops_and_counts(
    when_full: WhenFull, left: list[int], dropped: int
) -> None:
    box = box_of(1, 2, 3, when_full=when_full)
    await box.put(9)
    assert (box.take_nowait(), box.dropped) == (left, dropped)


async def test_the_policy_fail_says_so_and_puts_nothing_in() -> None:
    box = box_of(1, 2, 3, when_full="fail")
    with pytest.raises(BoxFullError) as caught:
        await box.put(9)
    assert str(caught.value) == (
        "b is full (3 items); read faster, send less, or choose another policy for it"
    )
    assert box.take_nowait() == [1, 2, 3]


@pytest.mark.parametrize("when_full", [policy for policy in POLICIES if policy != "fail"])
async def test_a_sender_that_never_waits_lets_its_reader_run(when_full: WhenFull) -> None:
    box: Box[int] = Box(items=3, when_full=when_full)
    got: list[int] = []

    async def read() -> None:
        got.append(await box.get())

    async def write() -> None:
        number = 0
        while not reading.done():
            number += 1
            await box.put(number)

    reading = asyncio.create_task(read())
    await write()
    assert got


async def test_before_a_batch_is_dropped_a_quick_reader_gets_its_turn() -> None:
    box: Box[int] = Box(items=2, when_full="drop-oldest")
    got: list[int] = []

    async def read() -> None:
        async for item in box:
            got.append(item)

    reading = asyncio.create_task(read())
    await box.put_all(list(range(10)))
    box.finish()
    await reading
    assert (got, box.dropped) == (list(range(10)), 0)


async def test_a_bound_in_bytes_is_passed_by_one_item_at_most() -> None:
    box: Box[str] = Box(items=100, limit_bytes=10)
    assert box.offer_all(["12345", "123456789", "x"]) == 2
    assert (box.waiting_bytes, box.limit_bytes, box.full) == (14, 10, True)
    putting = asyncio.create_task(box.put("x"))
    await turns()
    assert not putting.done()
    assert box.get_nowait() == "12345"
    await putting
    assert box.take_nowait() == ["123456789", "x"]
    assert box.waiting_bytes == 0


async def test_drop_oldest_makes_room_in_bytes() -> None:
    box: Box[str] = Box(limit_bytes=4, when_full="drop-oldest")
    for item in ("aa", "bb", "cc"):
        await box.put(item)
    assert (box.take_nowait(), box.dropped) == (["bb", "cc"], 1)


def test_what_an_item_counts_for_in_bytes() -> None:
    assert size_of("äb") == 2
    assert size_of(b"abc") == 3
    assert size_of(Tracked("four", ())) == 4
    assert size_of(object()) > 0


@pytest.mark.rule("FL2")
async def test_a_finished_box_is_read_to_its_end() -> None:
    box: Box[int] = Box("b")
    box.producers = 2
    box.offer_all([1, 2])
    box.producer_finished()
    assert repr(box) == "<box 'b': 2 of 100 items, open>"
    box.producer_finished()
    assert [item async for item in box] == [1, 2]
    with pytest.raises(Finished) as caught:
        await box.get()
    assert str(caught.value) == "b is read to its end"
    assert box.state is BoxState.FINISHED


@pytest.mark.rule("FL2")
async def test_a_reader_that_waits_hears_of_the_end() -> None:
    box: Box[int] = Box()
    reading = asyncio.create_task(box.take())
    await turns()
    box.finish()
    with pytest.raises(Finished):
        await reading


async def test_stopping_drops_what_is_there_and_wakes_everybody() -> None:
    box = box_of(1, bound=1)
    putting = asyncio.create_task(box.put(2))
    await turns()
    assert box.stop() == [1]
    assert box.stop() == []
    for wait in (putting, box.put(3), box.get(), box.put_all([4])):
        with pytest.raises(Stopped):
            await wait
    with pytest.raises(Stopped) as caught:
        box.offer(5)
    assert str(caught.value) == "b is stopped: nobody reads it any more"


async def test_items_that_are_put_back_come_first_and_may_pass_the_bound() -> None:
    box = box_of(2, 3, 4)
    box.put_back([0, 1])
    assert len(box) == 5
    putting = asyncio.create_task(box.put(5))
    got = [await box.get() for _ in range(6)]
    await putting
    assert got == [0, 1, 2, 3, 4, 5]


async def test_a_sender_whose_room_was_taken_by_what_was_put_back_stays_the_first() -> None:
    box = box_of(1, bound=1)
    first = asyncio.create_task(box.put(2))
    second = asyncio.create_task(box.put(3))
    await turns()
    item = box.get_nowait()
    box.put_back([item])
    await turns()
    assert not first.done()
    got = [await box.get() for _ in range(3)]
    await asyncio.gather(first, second)
    assert got == [1, 2, 3]


async def test_reading_in_two_places_at_once_is_an_error_and_no_silence() -> None:
    box: Box[int] = Box("b")
    reading = asyncio.create_task(box.get())
    await turns()
    with pytest.raises(GraphError) as caught:
        await box.get()
    assert str(caught.value) == "b is read in two places at once: read it in one"
    box.offer(1)
    assert await reading == 1


@pytest.mark.parametrize("many", [1, 5])
async def test_a_box_that_discards_makes_nobody_wait(many: int) -> None:
    box = box_of(1, 2, bound=2)
    putting = [asyncio.create_task(box.put_all(list(range(many)))) for _ in range(3)]
    await turns()
    box.discard()
    await asyncio.gather(*putting)
    await box.put(9)
    assert len(box) <= 3  # those that waited


# ------------------------------------------------------------------------- tokens


class Handled:
    """Tokens, and how often each was done."""

    def __init__(self) -> None:
        self.count = 0

    def item(self, item: Any) -> Tracked:
        token = Token(self._done)
        tracked = Tracked(item, (token,))
        token.release()
        return tracked

    def _done(self, _: Token) -> None:
        self.count += 1


async def test_asking_for_the_next_item_says_that_the_last_one_is_handled() -> None:
    handled, box = Handled(), Box[Any]()
    box.offer_all([handled.item(1), handled.item(2)])
    assert await box.get() == 1
    assert handled.count == 0
    assert await box.get() == 2
    assert handled.count == 1
    box.finish()
    with pytest.raises(Finished):
        await box.get()
    assert handled.count == 2


async def test_what_is_taken_together_is_its_takers() -> None:
    handled, box = Handled(), Box[Any]()
    box.offer_all([handled.item(1), handled.item(2)])
    assert await box.get() == 1
    (tracked,) = box.take_nowait()
    assert (tracked.item, handled.count) == (2, 1)  # the first is handled


DROPPING: list[tuple[WhenFull, int]] = [("latest", 3), ("drop-oldest", 1), ("drop-newest", 1)]


@pytest.mark.parametrize("when_full, dropped", DROPPING)
async def test_what_a_policy_drops_counts_as_handled(when_full: WhenFull, dropped: int) -> None:
    handled, box = Handled(), Box[Any](items=3, when_full=when_full)
    for number in range(4):
        await box.put(handled.item(number))
    assert handled.count == dropped


async def test_what_is_stopped_is_not_handled() -> None:
    handled, box = Handled(), Box[Any]()
    box.offer(handled.item(1))
    box.stop()
    assert handled.count == 0


async def test_a_policy_that_drops_leaves_the_readers_hand_alone() -> None:
    handled, box = Handled(), Box[Any](items=1, when_full="latest")
    await box.put(handled.item(1))
    assert await box.get() == 1
    await box.put(handled.item(2))
    await box.put(handled.item(3))
    assert handled.count == 1  # the second; the first is in hand
    box.finish()
    assert await box.get() == 3
    assert handled.count == 2


async def test_len_truth_and_repr() -> None:
    box = box_of(1, 2)
    assert len(box) == 2
    assert bool(Box[int]())
    assert repr(box) == "<box 'b': 2 of 3 items, open>"
    assert (box.limit_items, box.limit_bytes, box.name, Box[int]().name) == (
        3,
        None,
        "b",
        "the box",
    )
