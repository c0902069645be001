"""A sink against a plain model: whatever is sent again, in whatever order, through whatever crashes, is there once.

The model of a sender: numbered items, each of which becomes one or more parts on its way; what it knows to be handled;
a floor that follows. The model of the space: the list of (number, part) in the order in which they were new.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import hubbub
from hubbub.flow.tracking import Position
from hubbub.kernel import ConflictError
from hubbub.space.containers import Log
from hubbub.spaceflow import handled_up_to
from hubbub.spaceflow.positions import Arrival, store_once

ORIGINS = ("a", "b")
ITEMS = 12


class _Model:
    def __init__(self) -> None:
        self.handled: set[int] = set()
        self.seen: dict[int, int] = {}  # parts of each number that came since the last crash

    @property
    def floor(self) -> int:
        return next(n for n in range(ITEMS + 1) if n not in self.handled)


class Sinks(RuleBasedStateMachine):
    """Batches, repeats, other orders, crashes before and after the commit, floors."""

    @initialize(parts=st.lists(st.integers(1, 3), min_size=ITEMS, max_size=ITEMS))
    def begin(self, parts: list[int]) -> None:
        self.space = hubbub.open("memory:")
        self.parts = parts
        self.senders = {origin: _Model() for origin in ORIGINS}
        self.expected: list[tuple[str, int, int]] = []
        self.there: set[tuple[str, int, int]] = set()
        self.acknowledged: dict[str, int] = {}

    def _batch(self, wanted: list[tuple[str, int]]) -> list[Arrival]:
        """The next parts of these numbers, as a graph that does the same each time makes them."""
        arrivals = []
        for origin, number in wanted:
            sender = self.senders[origin]
            if number in sender.handled:
                continue  # what is acknowledged is not sent again
            part = sender.seen.get(number, 0) + 1
            if part > self.parts[number]:
                sender.seen[number] = 0  # sent once more, without a crash
                part = 1
            sender.seen[number] = part
            position = Position(origin, number, sender.floor)
            arrivals.append(Arrival((origin, number, part), position, part))
        return arrivals

    def _write(self, root: Any, items: list[Any]) -> None:
        root.setdefault("log", Log()).extend(items)

    def _expect(self, arrivals: list[Arrival]) -> int:
        new = [arrival.item for arrival in arrivals if arrival.item not in self.there]
        new = list(dict.fromkeys(new))
        self.there.update(new)
        self.expected += new
        return len(new)

    batches = st.lists(
        st.tuples(st.sampled_from(ORIGINS), st.integers(0, ITEMS - 1)), min_size=1, max_size=8
    )

    @rule(wanted=batches, per_item=st.booleans())
    def store(self, wanted: list[tuple[str, int]], per_item: bool) -> None:
        arrivals = self._batch(wanted)
        write = (lambda root, item: self._write(root, [item])) if per_item else self._write
        new = self.space.run(store_once, "sink", arrivals, write, per_item)
        assert new == self._expect(arrivals)

    @rule(wanted=batches)
    def store_after_a_conflict(self, wanted: list[tuple[str, int]]) -> None:
        arrivals = self._batch(wanted)
        attempts = 0

        def meets_others(root: Any, items: list[Any]) -> None:
            nonlocal attempts
            attempts += 1
            self._write(root, items)
            if attempts == 1:
                raise ConflictError(1, "test:Thing", 1, 2)

        self.space.run(store_once, "sink", arrivals, meets_others, False)
        self._expect(arrivals)

    @rule(wanted=batches)
    def crash_before_the_commit(self, wanted: list[tuple[str, int]]) -> None:
        def dies(root: Any, items: list[Any]) -> None:
            self._write(root, items)
            raise KeyboardInterrupt

        arrivals = self._batch(wanted)
        if any(arrival.item not in self.there for arrival in arrivals):
            with pytest.raises(KeyboardInterrupt):
                self.space.run(store_once, "sink", arrivals, dies, False)
        self.crash()

    @rule()
    def crash(self) -> None:
        """What was not acknowledged comes again, from the first part on."""
        for sender in self.senders.values():
            sender.seen.clear()

    @rule(origin=st.sampled_from(ORIGINS), number=st.integers(0, ITEMS - 1))
    def acknowledge(self, origin: str, number: int) -> None:
        """A number all of whose parts are stored may be acknowledged at any time, in any order."""
        sender = self.senders[origin]
        if all((origin, number, part + 1) in self.there for part in range(self.parts[number])):
            sender.handled.add(number)

    @invariant()
    def each_part_is_there_once_in_the_order_of_its_first_arrival(self) -> None:
        stored = self.space.read(lambda root: [tuple(item) for item in root.get("log", ())])
        assert stored == self.expected
        assert len(set(stored)) == len(stored)

    @invariant()
    def what_is_remembered_is_small_and_below_what_the_sender_knows(self) -> None:
        for origin, sender in self.senders.items():
            up_to = self.space.read(handled_up_to, "sink", origin)
            if up_to is not None:
                assert up_to < sender.floor
                runs = self.space.read(
                    lambda root, o=origin: root["hubbub.handled"]["sink"][o].runs
                )
                assert all(up_to < first <= last < ITEMS for first, last, _ in runs)

    def teardown(self) -> None:
        if hasattr(self, "space"):
            self.space.close()


TestSinks = Sinks.TestCase
TestSinks.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
