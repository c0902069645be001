"""What a backplane remembers."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.flow import Backplane, GraphError, Published


def test_the_last_items_come_in_the_order_in_which_they_were_published() -> None:
    backplane = Backplane("news", keep=2)
    for topic, item in (("a", 1), ("b", 2), ("a", 3), ("a", 4), ("c", 5)):
        assert backplane.publish(topic, item) == 0
    assert backplane.kept("[ab]", 2) == [("b", 2), ("a", 3), ("a", 4)]
    assert backplane.kept("*", 1) == [("b", 2), ("a", 4), ("c", 5)]
    assert backplane.kept("*", 0) == []
    seen: list[Any] = []

    def sink(published: Published) -> None:
        seen.extend(published.items)

    backplane.subscribe("a", sink, last=1)
    backplane.publish_all("a", [6, 7, 8])
    assert seen == [4, 6, 7, 8]
    assert backplane.kept("a", 2) == [("a", 7), ("a", 8)]
    assert backplane.subscriber_count("a") == 1


def test_topics_of_which_items_are_kept_are_bounded() -> None:
    backplane = Backplane("news", keep=1, topics=2)
    for topic in "abac":
        backplane.publish(topic, topic)
    assert backplane.kept("*", 1) == [("a", "a"), ("c", "c")]


def test_an_item_is_published_once_while_its_id_is_remembered() -> None:
    backplane = Backplane(unique_by=lambda item: item % 100, remember=2)
    seen: list[int] = []
    backplane.subscribe("", lambda published: seen.extend(published.items))
    assert backplane.publish("", 1) == 1
    assert backplane.publish("", 101) == 0
    assert backplane.publish_all("", [2, 102, 202, 1]) == 1
    assert backplane.publish_all("", [3, 1, 2]) == 1  # 2 was unseen for longest when 3 came
    assert seen == [1, 2, 3, 2]
    assert backplane.repeated == 5


@pytest.mark.parametrize("options", [{"keep": -1}, {"topics": 0}, {"remember": 0}])
def test_counts_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(GraphError, match="has to be at least"):
        Backplane("news", **options)  # type: ignore[arg-type]
