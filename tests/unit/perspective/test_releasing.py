"""What a commit sends arrives in its order (PE3), however it is put together."""

from __future__ import annotations

from typing import Any

import pytest
from persistent import Persistent

from hubbub.flow import Backplane, Published
from hubbub.kernel import Commit, Label, Tid
from hubbub.perspective.notices import MindNotice, PublishNotice
from hubbub.perspective.releasing import Releases


class Recorder:
    """Stands for a session that notes what comes, in order."""

    form = "json"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def mind_notice(self, entry: Any) -> None:
        self.seen.append(entry.kind.__name__)

    def sink(self, published: Published) -> None:
        self.seen.append((published.topic, *published.items))


class Seat:
    def __init__(self, session: Recorder) -> None:
        self.session = session


def release(*notices: Any) -> list[Any]:
    session = Recorder()
    backplane = Backplane()
    backplane.subscribe("*", session.sink)
    seats: Any = {"s": Seat(session)}
    nothing: Any = None
    releases = Releases(nothing, backplane, seats, nothing, nothing)
    commit = Commit(Tid(1), Label(), (), notices=list(notices))
    releases.release(commit)
    return session.seen


def mind(*args: Any) -> MindNotice:
    return MindNotice(("s", "gone"), "heard", args, {})


@pytest.mark.rule("PE3")
def test_items_that_follow_each_other_on_a_topic_go_together_and_nothing_is_passed() -> None:
    notices = [PublishNotice("a", 1), PublishNotice("a", 2), mind(), PublishNotice("a", 3)]
    notices += [PublishNotice("b", 4), PublishNotice("a", 5)]
    assert release(*notices) == [("a", 1, 2), "MindCall", ("a", 3), ("b", 4), ("a", 5)]
    assert release(PublishNotice("a", 1)) == [("a", 1)]
    assert release() == []


@pytest.mark.rule("PE5")
def test_a_call_that_can_not_be_sent_is_a_gap() -> None:
    assert release(mind(Persistent()), PublishNotice("a", 1)) == ["Gap", ("a", 1)]
