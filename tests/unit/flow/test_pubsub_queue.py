"""Clients that come to fetch what was published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hubbub.flow import GraphError, PublishSubscribeQueue, QueueSubscriber, SubscriberDroppedError
from hubbub.kernel import LimitError


async def fetched(me: QueueSubscriber[Any], timeout_s: float | None = 0) -> list[Any]:
    async with me.fetch(timeout_s) as batch:
        return batch


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_subscribed_before_get_what_is_published_after() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    ann = pubsub.subscribe("ann")
    assert await pubsub.publish("hi") == 1
    bob = pubsub.subscribe("bob")
    assert await pubsub.publish("ho") == 2
    assert await fetched(ann) == ["hi", "ho"]
    assert await fetched(bob) == ["ho"]
    assert len(ann) == len(bob) == 0


async def test_a_client_that_comes_back_finds_its_queue() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann", items=3)
    assert pubsub.subscribe("ann", items=50) is me
    assert pubsub.subscribe() is not pubsub.subscribe()
    assert len(pubsub) == 3
    me.unsubscribe()
    me.unsubscribe()
    assert not pubsub.unsubscribe("ann")
    assert pubsub.subscribe("ann") is not me


async def test_a_fetch_waits_and_times_out() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann")
    with pytest.raises(asyncio.TimeoutError):
        await fetched(me, 0.001)
    waiting = asyncio.create_task(fetched(me, 10))
    await turns()
    await pubsub.publish("hi")
    assert await waiting == ["hi"]


async def test_what_a_block_did_not_confirm_comes_again() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann")
    await pubsub.publish("hi")
    with pytest.raises(ConnectionError):
        async with me.fetch():
            raise ConnectionError
    hold = asyncio.Event()

    async def answer() -> None:
        async with me.fetch():
            hold.set()
            await asyncio.Event().wait()

    answering = asyncio.create_task(answer())
    await hold.wait()
    await pubsub.publish("ho")
    answering.cancel()
    await asyncio.wait([answering])
    assert await fetched(me) == ["hi", "ho"]


async def test_a_fetch_that_is_cancelled_while_it_waits_takes_nothing() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann")
    waiting = asyncio.create_task(fetched(me, 10))
    await turns()
    publishing = asyncio.create_task(pubsub.publish("hi"))
    waiting.cancel()
    await asyncio.wait([waiting, publishing])
    assert waiting.cancelled()
    assert await fetched(me) == ["hi"]


async def test_what_comes_while_a_block_runs_is_for_the_next() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann")
    await pubsub.publish(1)
    async with me.fetch() as batch:
        await pubsub.publish(2)
        async with me.fetch() as again:
            assert (batch, again) == ([1], [1, 2])
    assert len(me) == 0


async def test_a_later_fetch_takes_the_place_of_one_that_waits() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    me = pubsub.subscribe("ann")
    first = asyncio.create_task(fetched(me, 10))
    await turns()
    second = asyncio.create_task(fetched(me, 10))
    with pytest.raises(TimeoutError, match="a later fetch"):
        await first
    await pubsub.publish("hi")
    assert await second == ["hi"]


async def test_one_too_slow_is_dropped_and_told_and_may_begin_anew() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    slow, quick = pubsub.subscribe("slow", items=10), pubsub.subscribe("quick", items=11)
    for number in range(11):
        await pubsub.publish(number)
    assert slow.is_dropped
    assert len(pubsub) == 1
    assert await pubsub.publish(11) == 1
    assert quick.is_dropped
    assert pubsub.subscribe("slow") is slow
    with pytest.raises(
        SubscriberDroppedError, match=r"'slow' was dropped: it was too slow: 10 items waited"
    ) as told:
        await fetched(slow)
    assert told.value.dropped == slow.dropped == 11
    anew = pubsub.subscribe("slow", items=10)
    assert anew is not slow
    await pubsub.publish(12)
    assert await fetched(anew) == [12]


async def test_one_that_waits_is_told_at_once_when_it_is_unsubscribed() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    waiting = asyncio.create_task(fetched(pubsub.subscribe("ann"), 10))
    await turns()
    assert pubsub.unsubscribe("ann")
    with pytest.raises(SubscriberDroppedError, match="it has unsubscribed"):
        await waiting


@pytest.mark.parametrize(
    "policy, left",
    [("drop-oldest", [2, 3, 4]), ("drop-newest", [0, 1, 2]), ("latest", [3, 4])],
)
async def test_other_policies_drop_items_and_count_them(policy: Any, left: list[int]) -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    me = pubsub.subscribe(items=3, when_full=policy)
    for number in range(5):
        await pubsub.publish(number)
    assert me.dropped == 5 - len(left)
    assert await fetched(me) == left


async def test_who_publishes_waits_where_that_is_the_policy() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    me = pubsub.subscribe(items=1, when_full="wait")
    await pubsub.publish(1)
    second, third, fourth = (asyncio.create_task(pubsub.publish(n)) for n in (2, 3, 4))
    await turns()
    assert not second.done()
    third.cancel()
    await turns()
    assert await fetched(me) == [1]
    assert await fetched(me) == [2]
    await second
    assert await fetched(me) == [4]
    await fourth
    fifth = asyncio.create_task(pubsub.publish(5))
    sixth = asyncio.create_task(pubsub.publish(6))
    await turns()
    me.unsubscribe()
    await asyncio.wait([fifth, sixth])
    assert me.dropped == 2


async def test_bytes_are_bounded_too() -> None:
    pubsub: PublishSubscribeQueue[str] = PublishSubscribeQueue()
    me = pubsub.subscribe(limit_bytes=10, when_full="drop-newest")
    for text in ("x" * 50, "no"):
        await pubsub.publish(text)
    assert await fetched(me) == ["x" * 50]
    await pubsub.publish("yes")
    assert await fetched(me) == ["yes"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_idle_ones_are_dropped_and_told_and_those_who_fetch_are_not(clock: Clock) -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue(idle_s=60, clock=clock)
    idle, busy, polling = (pubsub.subscribe(name) for name in ("idle", "busy", "polling"))
    waiting = asyncio.create_task(fetched(polling, None))
    await turns()
    clock.now = 50
    with pytest.raises(TimeoutError):
        await fetched(busy)
    clock.now = 61
    assert pubsub.compact() == 1
    assert await pubsub.publish(1) == 2
    assert await waiting == await fetched(busy) == [1]
    with pytest.raises(SubscriberDroppedError, match="it has not fetched for 60 s"):
        await fetched(idle)
    clock.now = 200
    assert pubsub.compact() == 2


async def test_subscribers_are_bounded_and_idle_ones_make_room(clock: Clock) -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue(
        subscribers=2, idle_s=60, clock=clock
    )
    for key in (1, 2):
        pubsub.subscribe(key)
    with pytest.raises(LimitError, match="there are 2 subscribers already"):
        pubsub.subscribe(3)
    for step in range(1, 4):
        clock.now = step * 61
        pubsub.subscribe(step * 10)
        pubsub.subscribe(step * 10 + 1)
    assert len(pubsub) == 2


def test_what_makes_no_sense_is_refused() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    wrong: list[Callable[[], Any]] = [
        lambda: PublishSubscribeQueue(subscribers=0),
        lambda: PublishSubscribeQueue(idle_s=0),
        lambda: pubsub.subscribe(items=0),
        lambda: pubsub.subscribe(limit_bytes=0),
        lambda: pubsub.subscribe(when_full="explode"),  # type: ignore[arg-type]
    ]
    for make in wrong:
        with pytest.raises(GraphError):
            make()


async def test_a_publisher_that_is_cancelled_takes_back_what_was_not_put_in() -> None:
    pubsub: PublishSubscribeQueue[int] = PublishSubscribeQueue()
    me, other = pubsub.subscribe(items=1, when_full="wait"), pubsub.subscribe(items=5)
    await pubsub.publish(1)
    waiting = asyncio.create_task(pubsub.publish(2))
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (await fetched(me), await fetched(other)) == ([1], [1, 2])
    await pubsub.publish(3)
    assert (await fetched(me), await fetched(other)) == ([3], [3])
