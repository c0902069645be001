"""A backlog that is given items together, and lets deliveries pass, is the same as one that queues them one by one
(PE5, PE6)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from hubbub.perspective.backlog import Backlog
from hubbub.perspective.offers import Offered
from hubbub.wire.deliveries import encoded
from hubbub.wire.session import Answer, Delivery, Item, MindCall, Result

POLICIES = st.sampled_from(["lag", "latest", "disconnect"])


class Together(RuleBasedStateMachine):
    """Two backlogs, one of which queues each delivery by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[int] = []
        self.numbers = itertools.count(1)
        self.sent: dict[tuple[str, int], bytes] = {}

    @initialize(items=st.sampled_from([4, 12, 60]), size=st.sampled_from([800, 3000, 100_000]))
    def begin(self, items, size):
        def make() -> Backlog:
            epochs = itertools.count(2)
            return Backlog("json", items, size, "e1", lambda: f"e{next(epochs)}")

        self.pair = make(), make()

    def both(self, act):
        first, second = map(act, self.pair)
        assert first == second
        return first

    @rule(items=st.sampled_from([2, 5, 50]), size=st.sampled_from([300, 10_000]), policy=POLICIES)
    def open_stream(self, items, size, policy):
        stream_id = next(self.numbers)
        self.streams.append(stream_id)
        self.both(lambda backlog: backlog.open_stream(stream_id, items, size, policy))

    @precondition(lambda self: self.streams)
    @rule(count=st.integers(1, 6), big=st.booleans(), passing=st.booleans(), data=st.data())
    def items(self, count, big, passing, data):
        stream_id = data.draw(st.sampled_from(self.streams))
        entries = [
            encoded(Item(0, stream_id, Raw(b'"%b"' % (b"x" * (200 if big else 1)))), "json")
            for _ in range(count)
        ]
        together, alone = self.pair
        outcomes = [alone.put(entry) for entry in entries]
        size = sum(entry.cost for entry in entries)
        if passing and together.pass_items(stream_id, entries, size):
            assert set(outcomes) == {Offered.KEPT}
        elif together.put_items(stream_id, entries, size):
            assert len(set(outcomes)) == 1
        else:
            assert [together.put(entry) for entry in entries] == outcomes

    @rule(
        kind=st.sampled_from(["answer", "result", "mind"]), big=st.booleans(), passing=st.booleans()
    )
    def offer(self, kind, big, passing):
        value = Raw(b'"%b"' % (b"x" * (300 if big else 1)))
        number = next(self.numbers)
        deliveries: dict[str, Delivery] = {
            "answer": Answer(0, 7, "t", value=value),
            "result": Result(0, number, value=value),
            "mind": MindCall(0, 0, "f", value, Raw(b"{}")),
        }
        entry = encoded(deliveries[kind], "json", kept=kind != "mind")
        together, alone = self.pair
        outcome = alone.put(entry)
        if passing and together.pass_one(entry):
            assert outcome is Offered.KEPT
        else:
            assert together.put(entry) is outcome

    @rule(limit=st.sampled_from([1, 300, 100_000]))
    def take(self, limit):
        backlog = self.pair[1]
        first = backlog._again or backlog.newest + 1
        taken = self.both(lambda backlog: backlog.take(limit))
        taken = [data for data in taken if b'"lagged"' not in data[:20]]
        for n, data in enumerate(taken, first):
            assert b'"n":%d,' % n in data
            assert self.sent.setdefault((backlog.epoch, n), data) == data, "sent again, but other"

    @rule(part=st.floats(0, 1))
    def ack(self, part):
        backlog = self.pair[1]
        seq = backlog.acknowledged + round(part * (backlog.newest - backlog.acknowledged))
        self.both(lambda backlog: tuple(backlog.ack(seq)))

    @rule(part=st.floats(0, 1))
    def rewind(self, part):
        backlog = self.pair[1]
        seq = backlog.acknowledged + round(part * (backlog.newest - backlog.acknowledged))
        assert self.both(lambda backlog: backlog.rewind(seq))

    @precondition(lambda self: self.streams)
    @rule()
    def forget(self):
        stream_id = self.streams.pop(0)
        self.both(lambda backlog: backlog.forget(stream_id))

    @invariant()
    def they_are_the_same(self):
        if hasattr(self, "pair"):
            self.both(lambda b: (b.pending, b.dropped, b.epoch, b.acknowledged))

    @rule()
    def they_stand_at_the_same(self):
        self.both(lambda b: (b.cursor, b.newest, b.held, b.has_answer(7)))

    @invariant()
    def what_counts_is_there(self):
        if hasattr(self, "pair"):
            backlog = self.pair[0]
            entries = [*backlog._sent, *(e for e in backlog._waiting.values() if e.counts)]
            cost = sum(entry.cost for entry in entries)
            assert (backlog._items, backlog._bytes) == (len(entries), cost)
            assert backlog._sent_bytes == sum(entry.cost for entry in backlog._sent)
            assert backlog._waiting_bytes == sum(e.cost for e in backlog._waiting.values())


Together.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@pytest.mark.rule("PE5", "PE6")
class TestTogether(Together.TestCase):  # type: ignore[name-defined,misc,valid-type]
    pass
