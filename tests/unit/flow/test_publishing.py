"""Components that publish, subscribe, and do both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub.flow import (
    Backoff,
    Backplane,
    Component,
    Duplex,
    GraphError,
    Join,
    PresenceOf,
    PublishTo,
    Restart,
    Runner,
    SubscriberTooSlowError,
    SubscribeTo,
    Token,
    Tracked,
)
from hubbub.kernel import ComponentFailedError


class Collect(Component):
    """Keep what comes; tell when there are ``count``."""

    outboxes = {}

    def __init__(self, count: int = 0) -> None:
        self.seen: list[Any] = []
        self.count = count
        self.enough = asyncio.Event()

    async def main(self) -> None:
        async for item in self.inbox:
            self.seen.append(item)
            if len(self.seen) == self.count:
                self.enough.set()


class Holding(Collect):
    """Takes one item and no more until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def main(self) -> None:
        self.seen.append(await self.inbox.get())
        await self.let_go.wait()
        await super().main()


class Idle(Component):
    """Keeps a run going until it is asked to finish."""

    inboxes = {}
    outboxes = {}

    async def main(self) -> None:
        await asyncio.get_running_loop().create_future()


@pytest.mark.rule("FL2")
async def test_nothing_published_by_what_starts_together_is_lost_and_all_is_read_to_its_end() -> (
    None
):
    seen = [Collect() for _ in range(3)]
    async with Runner() as runner:
        runner.start(
            range(1000) | PublishTo("news"),
            *(SubscribeTo("news") | each for each in seen),
            Backplane("news"),
        )
        await runner.wait("first")
    assert [each.seen for each in seen] == [list(range(1000))] * 3


async def test_topics_and_patterns_choose() -> None:
    tea, everything = Collect(), Collect()
    async with Runner() as runner:
        runner.start(
            ["tea 1", "milk 2", "tea 3"] | PublishTo("prices", lambda line: line.split()[0]),
            SubscribeTo("prices", "te?") | tea,
            SubscribeTo("prices") | everything,
            Backplane("prices"),
        )
        await runner.wait("first")
    assert tea.seen == ["tea 1", "tea 3"]
    assert everything.seen == ["tea 1", "milk 2", "tea 3"]


async def test_a_late_subscriber_gets_the_last_items_first() -> None:
    late = Collect(4)
    async with Runner() as runner:
        backplane = Backplane("news", keep=3)
        runner.start(backplane, Idle())
        for number in range(5):
            backplane.publish("", number)
        runner.start(SubscribeTo("news", last=3, items=2) | late)
        backplane.publish("", 5)
        await late.enough.wait()
    assert late.seen == [2, 3, 4, 5]


async def test_who_asks_for_more_than_is_kept_is_told_so() -> None:
    async with Runner() as runner:
        backplane = Backplane("news", keep=3)
        runner.start(backplane, Idle())
        with pytest.raises(GraphError, match=r"it keeps 3: make it Backplane\('news', keep=4\)"):
            runner.start(SubscribeTo("news", last=4))
        assert backplane.subscribers() == []


async def test_a_backplane_that_is_not_there_is_missed_by_name() -> None:
    async with Runner() as runner:
        runner.start(Backplane("news"), Backplane("weather"), Idle())
        with pytest.raises(GraphError, match=r"'nwes'.*there are: 'news', 'weather'"):
            runner.start(SubscribeTo("nwes"))
        with pytest.raises(GraphError, match="two backplanes called 'news'"):
            runner.start(Backplane("news"))


async def test_a_name_is_free_again_after_its_backplane_and_after_a_start_that_failed() -> None:
    async with Runner() as runner:
        runner.start(Idle())
        with pytest.raises(GraphError):
            runner.start(Backplane("news"), PublishTo("nwes"))
        running = runner.start(Backplane("news"))
        running.finish()
        await running.wait()
        runner.start(Backplane("news"))


async def test_a_backplane_alone_keeps_no_run_going() -> None:
    async with Runner() as runner:
        runner.start(Backplane("news"), [1, 2] | PublishTo("news"))
        await runner.wait()
        runner.start(Backplane("news"))
        await runner.wait()


@pytest.mark.rule("FL1")
async def test_a_subscriber_that_is_too_slow_is_taken_off_with_a_reason() -> None:
    quick, slow = Collect(500), Holding()
    backplane = Backplane("news")
    changes: list[Any] = []
    backplane.watch_subscribers(lambda published: changes.extend(published.items))
    async with Runner() as runner:
        runner.start(backplane, Idle(), SubscribeTo("news", who="quick") | quick)
        (child,) = runner.launch([SubscribeTo("news", items=10, who="slow") | slow])
        runner.start(range(500) | PublishTo("news"))
        with pytest.raises(ComponentFailedError) as failed:
            await child.wait()
        await quick.enough.wait()
        assert [each.who for each in backplane.subscribers()] == ["quick"]
    assert quick.seen == list(range(500))
    cause = failed.value.__cause__
    assert isinstance(cause, SubscriberTooSlowError)
    assert (cause.who, cause.dropped > 0) == ("slow", True)
    assert "slow was taken off backplane 'news'" in str(cause)
    assert [(c.who, c.here, c.reason) for c in changes][:3] == [
        ("quick", True, ""),
        ("slow", True, ""),
        ("slow", False, "too slow"),
    ]


@pytest.mark.rule("FL1")
async def test_who_publishes_waits_for_a_subscriber_that_asks_for_it() -> None:
    slow = Holding()
    made: list[int] = []

    def make() -> Any:
        for number in range(5000):
            made.append(number)
            yield number

    async with Runner() as runner:
        runner.start(
            make | PublishTo("news"),
            SubscribeTo("news", items=10, when_full="wait") | slow,
            Backplane("news"),
        )
        while not slow.seen:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(made) < 1000
        slow.let_go.set()
        await runner.wait("first")
    assert slow.seen == list(range(5000))


async def test_what_a_policy_drops_is_counted() -> None:
    slow = Holding()
    subscriber = SubscribeTo("news", items=3, when_full="drop-oldest")
    backplane = Backplane("news")
    async with Runner() as runner:
        runner.start(backplane, subscriber | slow, Idle())
        for number in range(10):
            backplane.publish("", number)
        assert [(s.waiting, s.passed, s.dropped) for s in backplane.subscribers()] == [(3, 10, 7)]
        assert subscriber.dropped == 7


async def test_those_who_join_hear_everybody_but_themselves() -> None:
    heard = [Collect() for _ in range(3)]
    done = asyncio.Event()
    waiting = 3

    def says(who: int) -> Any:
        async def main() -> AsyncIterator[Any]:
            nonlocal waiting
            yield who
            waiting -= 1
            if not waiting:
                done.set()
            await done.wait()

        return main

    async with Runner() as runner:
        runner.start(
            *(says(who) | Join("chat") | each for who, each in enumerate(heard)),
            Backplane("chat"),
        )
        await runner.wait()
    assert [sorted(each.seen) for each in heard] == [[1, 2], [0, 2], [0, 1]]


async def test_items_end_that_go_round_in_a_ring_of_backplanes() -> None:
    heard = [Collect(1) for _ in range(3)]
    planes = [Backplane(f"node {number}", unique_by=lambda item: item) for number in range(3)]
    async with Runner() as runner:
        runner.start(
            Idle(),
            *planes,
            *(SubscribeTo(f"node {number}") | each for number, each in enumerate(heard)),
            *(
                Duplex(Join(f"node {number}"), Join(f"node {(number + 1) % 3}"))
                for number in range(3)
            ),
        )
        assert planes[0].publish("", "stroke") == 3
        for each in heard:
            await each.enough.wait()
        while sum(plane.repeated for plane in planes) < 2:  # both ways round have met
            await asyncio.sleep(0)
    assert [each.seen for each in heard] == [["stroke"]] * 3


async def test_who_is_here_is_told_as_it_changes() -> None:
    told = Collect(3)
    async with Runner() as runner:
        runner.start(Backplane("chat"), Idle())
        runner.start(SubscribeTo("chat", who="ann"))
        runner.start(PresenceOf("chat") | told)
        running = runner.start(SubscribeTo("chat", "hi*", who="bob"))
        running.finish()
        await told.enough.wait()
    assert [(c.who, c.pattern, c.here) for c in told.seen] == [
        ("ann", "*", True),
        ("bob", "hi*", True),
        ("bob", "hi*", False),
    ]


async def test_a_tracked_item_is_handled_when_it_has_been_published() -> None:
    handled: list[Any] = []
    slow = Holding()
    tokens = [Token(lambda token: handled.append(token.position), number) for number in range(3)]

    async def source() -> AsyncIterator[Any]:
        for token in tokens:
            yield Tracked(token.position, (token,))
            token.release()

    async with Runner() as runner:
        runner.start(
            source | PublishTo("news"), SubscribeTo("news") | slow, Backplane("news"), Idle()
        )
        while len(handled) < 3:
            await asyncio.sleep(0)
        slow.let_go.set()
        runner.finish()
        await runner.wait()
    assert handled == [0, 1, 2]
    assert slow.seen == [0, 1, 2]


async def test_who_cannot_wait_takes_off_a_subscriber_that_wants_to_be_waited_for() -> None:
    slow = Holding()
    backplane = Backplane("news")
    async with Runner() as runner:
        runner.start(backplane, Idle())
        (child,) = runner.launch([SubscribeTo("news", items=2, when_full="wait") | slow])
        backplane.publish_all("", range(3))
        with pytest.raises(ComponentFailedError, match="too slow"):
            await child.wait()


async def test_a_subscriber_taken_off_before_it_runs_ends_with_the_reason() -> None:
    backplane = Backplane("news")
    async with Runner() as runner:
        runner.start(backplane, Idle())
        (child,) = runner.launch([SubscribeTo("news", items=1)])
        backplane.publish_all("", range(3))
        with pytest.raises(ComponentFailedError) as failed:
            await child.wait()
    assert isinstance(failed.value.__cause__, SubscriberTooSlowError)


@pytest.mark.rule("FL3")
async def test_one_that_was_too_slow_may_subscribe_again_by_its_restart() -> None:
    heard = Collect(101)
    backplane = Backplane("news")
    subscriber = SubscribeTo("news", items=2)
    subscriber.restart = Restart(backoff=Backoff(first_s=0.001))
    gone = asyncio.Event()
    back = asyncio.Event()

    def change(published: Any) -> None:
        (back if published.items[0].here else gone).set()

    async with Runner() as runner:
        runner.start(backplane, Idle(), subscriber | heard)
        await asyncio.sleep(0)
        backplane.watch_subscribers(change)
        backplane.publish_all("", range(1000))
        await gone.wait()
        await back.wait()
        backplane.publish("", "again")
        await heard.enough.wait()
    assert heard.seen == [*range(100), "again"]  # what found room was heard


@pytest.mark.rule("FL1")
async def test_a_burst_takes_off_nobody_that_keeps_up() -> None:
    small, large = Collect(), Collect()
    async with Runner() as runner:
        runner.start(
            range(10_000) | PublishTo("news"),
            SubscribeTo("news", items=3) | (lambda n: n) | small,
            SubscribeTo("news", items=100) | large,
            Backplane("news"),
        )
        await runner.wait("first")
    assert small.seen == large.seen == list(range(10_000))


async def test_a_topic_that_cannot_be_made_fails_the_publisher_and_loses_nothing_else() -> None:
    heard = Collect()

    def topic(item: Any) -> str:
        if item == 3:
            raise ValueError("three")
        return "odd" if item % 2 else "even"

    publisher = PublishTo("news", topic)
    publisher.restart = Restart(backoff=Backoff(first_s=0.001))
    async with Runner() as runner:
        runner.start(
            range(8) | publisher,
            SubscribeTo("news") | heard,
            Backplane("news", unique_by=lambda item: item),
        )
        await runner.wait("first")
    assert heard.seen == [0, 1, 2, 4, 5, 6, 7]
    async with Runner() as runner:
        runner.start(Backplane("news"), Idle())
        (child,) = runner.launch([range(8) | PublishTo("news", topic)])
        with pytest.raises(ComponentFailedError, match="three"):
            await child


async def test_a_member_whose_listener_has_gone_still_says_what_it_is_given() -> None:
    heard = Collect()

    class Deaf(Component):
        """Stops listening at once, and says a lot later."""

        inboxes = {}

        async def main(self) -> None:
            for number in range(300):
                await self.send(number)
                await asyncio.sleep(0)

    class First(Component):
        outboxes = {}

        async def main(self) -> None:
            await self.inbox.get()

    async with Runner() as runner:
        runner.start(
            Deaf() | Join("chat") | First(),
            [1, 2, 3] | PublishTo("chat"),
            SubscribeTo("chat") | heard,
            Backplane("chat"),
            Idle(),
        )
        while len(heard.seen) < 303:
            await asyncio.sleep(0)
    assert [n for n in heard.seen[3:] if n > 3] == list(range(4, 300))


def test_what_makes_no_sense_is_refused() -> None:
    for options in (
        {"items": 0},
        {"limit_bytes": 0},
        {"last": -1},
        {"when_full": "fail"},
    ):
        with pytest.raises(GraphError):
            SubscribeTo("news", **options)  # type: ignore[arg-type]
