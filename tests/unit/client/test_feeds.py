"""What a slow reader of a watch or stream finds."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.kernel import BrokenError, ClosedError, LocalProtocolError
from hubbub.perspective.client import feeds
from hubbub.perspective.client.events import Subscription
from hubbub.perspective.client.feeds import AnswerFeed, ItemFeed
from hubbub.wire import session as wire


def answer_feed(value) -> AnswerFeed:
    feed = AnswerFeed()
    feed.subscription = Subscription(wire.Watch(1, "w"), feed, is_stream=False)
    answer(feed, value)
    return feed


def answer(feed: AnswerFeed, value, patch=None) -> None:
    assert feed.subscription is not None
    feed.subscription.value = value
    feed.answered(patch)


def test_only_the_newest_answer_waits_with_all_that_changed() -> None:
    feed = answer_feed({"a": 1})
    assert feed.take().set == {"a": 1}
    assert not feed.has_news
    answer(feed, {"a": 2, "b": 1}, [["k", "a", 2], ["k", "b", 1]])
    answer(feed, {"a": 2}, [["d", "b"]])
    answer(feed, {"b": 3}, [["d", "a"], ["k", "b", 3]])
    change = feed.take()
    assert (change.value, change.set, change.whole) == ({"b": 3}, {"b": 3}, False)
    assert change.deleted == {"a"}
    answer(feed, {"c": 1})
    answer(feed, {"c": 2}, [["k", "c", 2]])
    change = feed.take()
    assert (change.set, change.deleted, change.whole) == ({"c": 2}, frozenset(), True)


def test_an_answer_that_is_not_a_container_has_no_parts() -> None:
    change = answer_feed(7).take()
    assert (change.value, change.set, change.whole) == (7, {}, True)


def test_how_a_watch_ends() -> None:
    feed = answer_feed(1)
    feed.ended(None)
    assert feed.take().value == 1
    with pytest.raises(StopAsyncIteration):
        feed.take()
    feed = answer_feed(1)
    feed.ended(BrokenError("gone"))
    with pytest.raises(BrokenError):
        feed.take()
    feed = answer_feed(1)
    feed.ended(ClosedError("on this side"))
    with pytest.raises(StopAsyncIteration):
        feed.take()


async def test_one_reader_at_a_time() -> None:
    feed = ItemFeed()
    first = asyncio.ensure_future(feed.next())
    await asyncio.sleep(0)
    with pytest.raises(LocalProtocolError):
        await feed.next()
    feed.streamed(1)
    assert await first == 1


@pytest.mark.rule("PE5")
def test_a_reader_that_is_too_slow_finds_a_gap() -> None:
    gaps: list[str] = []
    feed = ItemFeed(gaps.append)
    for number in range(feeds.WAITING_ITEMS + 1):
        feed.streamed(number)
    assert feed.take() == (feeds.WAITING_ITEMS,)
    assert (gaps, feed.gaps) == (["slow"], 1)
    feed.missed("lag")
    feed.missed("restart")
    assert feed.take() == ()
    assert gaps == ["slow", "lag"], "one gap says it"
