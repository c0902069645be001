"""Two numbered wires against a plain model: cuts at any byte, handling in any order, graphs and processes that die.

Whatever happens, each item is given, the first time, in order; nothing is given twice to a process that lives on and
has not lost it; and in the end, when the wire holds and all is handled, the sender knows that all is handled.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.flow import FramingError, Lines
from hubbub.flow.net.acked import Acked
from hubbub.flow.net.frames import Handled, frame
from hubbub.flow.net.numbering import Numbering, Origins
from hubbub.flow.tracking import Tracked

WINDOW = 5


class AckedWires(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.numbering = Numbering("a", items=WINDOW)
        self.origins = Origins()
        self.sent = 0
        self.handled: set[int] = set()  # by a graph: for good
        self.handled_here: set[int] = set()  # and in this process
        self.in_graph: dict[
            int, Tracked
        ] = {}  # number -> what the graph of the living connection holds
        self.old_graphs: list[tuple[Acked, dict[int, Tracked]]] = []
        self.given_ever: set[int] = set()
        self.last_new = 0
        self.near: Acked | None = None
        self.far: Acked | None = None
        self.to_far = self.to_near = b""

    # ------------------------------------------------------------------ what may happen

    @precondition(lambda self: self.near is None)
    @rule()
    def connect(self) -> None:
        self.near = Acked(self.numbering, Origins(), Lines().encode, Lines())
        self.far = Acked(Numbering("b"), self.origins, Lines().encode, Lines())
        self.to_far = self.near.opened(lambda: None)
        self.to_near = self.far.opened(lambda: None)

    @precondition(lambda self: self.near is not None)
    @rule(graph_goes_on=st.booleans())
    def cut(self, graph_goes_on: bool) -> None:
        assert self.near is not None
        assert self.far is not None
        self.near.lost()
        self.far.lost()
        graph, self.in_graph = self.in_graph, {}
        if graph_goes_on:
            self.old_graphs.append((self.far, graph))
        else:
            self.far.abandon()
        self.near = self.far = None
        self.to_far = self.to_near = b""

    @precondition(lambda self: self.near is not None and self.near.room())
    @rule(count=st.integers(1, 4))
    def send(self, count: int) -> None:
        assert self.near is not None
        items = [str(self.sent + n + 1) for n in range(count)]
        data, packed = self.near.pack(items, 1 << 16)
        self.sent += packed
        self.to_far += data

    @precondition(lambda self: self.to_far)
    @rule(size=st.integers(1, 200))
    def carry(self, size: int) -> None:
        assert self.far is not None
        data, self.to_far = self.to_far[:size], self.to_far[size:]
        for tracked in self.far.feed(data):
            self._given(tracked)
        self.to_near += self.far.reply()

    @precondition(lambda self: self.to_near)
    @rule(size=st.integers(1, 200))
    def carry_back(self, size: int) -> None:
        assert self.near is not None
        data, self.to_near = self.to_near[:size], self.to_near[size:]
        assert self.near.feed(data) == []
        self.to_far += self.near.reply()

    @precondition(lambda self: self.in_graph)
    @rule(data=st.data())
    def handle(self, data: st.DataObject) -> None:
        self._handle(self.in_graph, data.draw(st.sampled_from(sorted(self.in_graph))))

    @precondition(lambda self: self.old_graphs)
    @rule(data=st.data())
    def handle_in_old_graph(self, data: st.DataObject) -> None:
        _, graph = self.old_graphs[0]
        if graph:
            self._handle(graph, data.draw(st.sampled_from(sorted(graph))))
        else:
            self.old_graphs.pop(0)

    @precondition(lambda self: self.old_graphs)
    @rule()
    def old_graph_dies(self) -> None:
        wire, _ = self.old_graphs.pop(0)
        wire.abandon()
        self._say()

    @precondition(lambda self: self.near is None)
    @rule()
    def far_process_starts_anew(self) -> None:
        self.origins = Origins()
        self.old_graphs.clear()
        self.in_graph.clear()
        self.handled_here.clear()

    # ------------------------------------------------------------------------- the model

    def _given(self, tracked: Tracked) -> None:
        (token,) = tracked.tokens
        position = token.position
        number = int(tracked.item)
        assert position.number == number
        assert position.origin == "a"
        assert position.floor <= number
        assert all(n in self.handled for n in range(1, position.floor))
        assert number not in self.handled_here
        assert number not in self.in_graph
        assert all(number not in graph for _, graph in self.old_graphs)
        if number not in self.given_ever:
            assert number == self.last_new + 1  # in order, the first time
            self.last_new = number
        self.given_ever.add(number)
        self.in_graph[number] = tracked

    def _handle(self, graph: dict[int, Tracked], number: int) -> None:
        self.handled.add(number)
        self.handled_here.add(number)
        graph.pop(number).release()
        self._say()

    def _say(self) -> None:
        if self.far is not None:
            self.to_near += self.far.reply()

    @invariant()
    def the_sender_keeps_what_is_not_handled(self) -> None:
        kept = set(self.numbering)
        assert len(kept) <= WINDOW
        assert kept >= set(range(1, self.sent + 1)) - self.handled
        assert self.numbering.floor == min(kept, default=self.sent + 1)

    def teardown(self) -> None:
        if self.near is None:
            self.connect()
        while self.old_graphs:
            self.old_graph_dies()
        for _ in range(100):
            while self.to_far or self.to_near:
                if self.to_far:
                    self.carry(1 << 20)
                if self.to_near:
                    self.carry_back(1 << 20)
            if not self.in_graph:
                break
            for number in sorted(self.in_graph):
                self._handle(self.in_graph, number)
        assert len(self.numbering) == 0
        assert self.handled == set(range(1, self.sent + 1))
        assert self.near is not None
        assert self.near.settled()


@pytest.mark.rule("FL2")
class TestAckedWires(AckedWires.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_what_is_no_frame_is_told_apart() -> None:
    def far() -> Any:
        wire = Acked(Numbering("b"), Origins(), Lines().encode, Lines())
        wire.opened(lambda: None)
        return wire

    with pytest.raises(FramingError, match="say acked=True on both sides"):
        far().feed(b"GET / HTTP/1.1\r\n")
    near = Acked(Numbering("a"), Origins(), Lines().encode, Lines())
    hello = near.opened(lambda: None)
    near.feed(far().opened(lambda: None))
    data, _ = near.pack(["one"], 100)
    wire = far()
    assert [t.item for t in wire.feed(hello + data)] == ["one"]
    with pytest.raises(FramingError, match="said twice who it is"):
        wire.feed(hello[len(b"\xffhubbub/1 flow\n") :])
    with pytest.raises(FramingError, match="has not said who it is"):
        far().feed(b"\xffhubbub/1 flow\n" + data)
    with pytest.raises(FramingError, match="a frame came that is none"):
        far().feed(b"\xffhubbub/1 flow\n\x00\x00\x00\x01\xc1")
    with pytest.raises(FramingError, match="are allowed"):
        far().feed(b"\xffhubbub/1 flow\n\x7f\xff\xff\xff")
    with pytest.raises(FramingError, match="speaks of the items 7 to 9"):
        near.feed(frame(Handled([(7, 9)])))
