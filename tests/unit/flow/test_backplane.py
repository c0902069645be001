"""Publishing and subscribing by topic."""

from __future__ import annotations

from typing import Any

from hubbub.flow import Backplane, Published


def collect(into: list[Any]) -> Any:
    return lambda published: into.append((published.topic, *published.items))


def test_items_reach_whoever_subscribed_to_their_topic() -> None:
    backplane = Backplane()
    exact: list[Any] = []
    pattern: list[Any] = []
    backplane.subscribe("price.tea", collect(exact))
    backplane.subscribe("price.*", collect(pattern))
    assert backplane.publish("price.tea", 1) == 2
    assert backplane.publish("price.milk", 2) == 1
    assert backplane.publish("weather", 3) == 0
    assert exact == [("price.tea", 1)]
    assert pattern == [("price.tea", 1), ("price.milk", 2)]


def test_what_is_published_together_arrives_together() -> None:
    backplane = Backplane()
    seen: list[Published] = []
    for _ in range(2):
        backplane.subscribe("t", seen.append)
    assert backplane.publish_all("t", [1, 2, 3]) == 2
    assert [list(published.items) for published in seen] == [[1, 2, 3]] * 2
    assert seen[0] is seen[1]  # so that it is encoded once


def test_a_subscriber_that_fails_keeps_nobody_from_getting_it() -> None:
    backplane = Backplane()
    seen: list[Any] = []

    def failing(published: Published) -> None:
        raise ValueError

    backplane.subscribe("t", failing)
    subscription = backplane.subscribe("t", collect(seen))
    backplane.publish("t", 1)
    subscription.close()
    subscription.close()
    backplane.publish("t", 2)
    assert seen == [("t", 1)]
    assert backplane.subscriber_count("t") == 1
