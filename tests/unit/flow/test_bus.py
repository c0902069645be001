"""What carries published items in one thread."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow import LocalBus, Published
from hubbub.flow import bus as bus_module


def topics_of(into: list[str]) -> Any:
    return lambda published: into.append(published.topic)


def publish(bus: LocalBus, *topics: str) -> list[int]:
    return [bus.publish(Published(topic, ["x"])) for topic in topics]


@pytest.mark.parametrize(
    "pattern, heard",
    [
        ("a", ["a"]),
        ("*", ["a", "ab", "b", "a.b", ""]),
        ("a*", ["a", "ab", "a.b"]),
        ("?", ["a", "b"]),
        ("[ab]", ["a", "b"]),
        ("", [""]),
    ],
)
def test_patterns_are_those_of_file_names(pattern: str, heard: list[str]) -> None:
    bus = LocalBus()
    seen: list[str] = []
    bus.subscribe(pattern, topics_of(seen))
    publish(bus, "a", "ab", "b", "a.b", "")
    assert seen == heard


def test_who_gets_a_topic_is_known_and_follows_the_subscriptions() -> None:
    bus = LocalBus()
    seen: list[str] = []
    assert publish(bus, "a") == [0]
    exact = bus.subscribe("a", topics_of(seen))
    assert publish(bus, "a", "b") == [1, 0]
    pattern = bus.subscribe("?", topics_of(seen))
    assert publish(bus, "a", "b") == [2, 1]
    assert (bus.subscriber_count("a"), bus.subscriber_count("c")) == (2, 1)
    exact.close()
    assert publish(bus, "a", "b") == [1, 1]
    pattern.close()
    assert publish(bus, "a", "b") == [0, 0]
    assert len(seen) == 1 + 3 + 2


def test_one_that_closes_while_something_is_published_does_not_get_it() -> None:
    bus = LocalBus()
    seen: list[str] = []
    bus.subscribe("a", lambda _: second.close())
    second = bus.subscribe("a", topics_of(seen))
    publish(bus, "a", "a")
    assert seen == []


def test_topics_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_TOPICS", 3)
    bus = LocalBus()
    seen: list[str] = []
    bus.subscribe("*", topics_of(seen))
    publish(bus, *map(str, range(10)), *map(str, range(10)))
    assert len(seen) == 20
    assert len(bus._receivers) <= 3
