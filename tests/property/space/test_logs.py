"""Log against a list, in transactions that commit, abort and overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hubbub.space.containers import Log, parts
from hubbub.space.containers import log as log_module
from tests.unit.space.small_space import SmallSpace


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FANOUT", 3)
        patch.setattr(log_module, "INLINE_BYTES", 20)
        patch.setattr(log_module, "OWN_BYTES", 40)
        patch.setattr(log_module, "CHUNK_BYTES", 60)
        yield


items = st.one_of(st.integers(0, 9), st.text(max_size=30), st.just("long" * 30))


class LogMachine(RuleBasedStateMachine):
    """The model: (time, item) of everything ever added, and the position of the first that is kept."""

    @initialize()
    def make(self) -> None:
        self.space = SmallSpace()
        self.space.do(lambda root: root.update(log=Log()))
        self.client = self.space.connect()
        self.model: list[tuple[float, Any]] = []
        self.first = 0
        self.stored: tuple[list[tuple[float, Any]], int] = ([], 0)

    @property
    def log(self) -> Any:
        return self.client.root["log"]

    def do(self, body: Any) -> Any:
        return self.client.run(lambda root: body(root["log"]))

    @rule(many=st.lists(items, max_size=6))
    def add(self, many: list[Any]) -> None:
        self.do(lambda log: log.extend(many))
        self.model += [(self.client.transaction.now, item) for item in many]

    @rule(keep=st.integers(0, 40))
    def trim_to_length(self, keep: int) -> None:
        first = max(self.first, len(self.model) - keep)
        assert self.do(lambda log: log.trim(keep=keep)) == first - self.first
        self.first = first

    @rule(age=st.integers(-1, 12))
    def trim_by_age(self, age: int) -> None:
        before = self.space.now - age
        first = self.first
        while first < len(self.model) and self.model[first][0] < before:
            first += 1
        assert self.do(lambda log: log.trim(before=before)) == first - self.first
        self.first = first

    @rule()
    def commit(self) -> None:
        self.space.now += 1
        self.client.commit()
        self.stored = (list(self.model), self.first)

    @rule(many=st.lists(items, min_size=1, max_size=4))
    def commit_behind_somebody_else(self, many: list[Any]) -> None:
        other = self.space.connect()
        other.run(lambda root: root["log"].extend(many))
        other.commit()
        stored, stored_first = self.stored
        now = other.space.now
        if self.first > len(stored):
            # It trimmed its own additions away: that can't be merged.
            self.client.abort()
            self.model, self.first = list(stored), stored_first
        own = self.model[len(stored) :]
        self.client.commit()
        self.model = [*stored, *((now, item) for item in many), *own]
        self.stored = (list(self.model), self.first)

    @rule()
    def abort(self) -> None:
        self.client.abort()
        self.model, self.first = list(self.stored[0]), self.stored[1]

    @rule(a=st.integers(-5, 60), b=st.integers(-5, 60))
    def read(self, a: int, b: int) -> None:
        log, end = self.log, len(self.model)
        plain = [item for _, item in self.model]
        assert log.last(a) == plain[self.first :][max(0, end - self.first - a) :][: max(0, a)]
        low = max(a, self.first)
        assert log.since(a) == (plain[low:], max(low, end))
        assert log.since(a, limit=3) == (plain[low : low + 3], max(low, min(end, low + 3)))
        position = a + end if a < 0 else a
        if self.first <= position < end:
            assert log[a] == plain[position]
        else:
            with pytest.raises(IndexError):
                log[a]
        start, stop = (max(0, n + end) if n < 0 else n for n in (a, b))
        assert log[a:b] == plain[max(start, self.first) : max(stop, self.first)]

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "client"):
            return
        kept = [item for _, item in self.model[self.first :]]
        log = self.log
        assert list(log) == kept
        assert list(reversed(log)) == kept[::-1]
        assert (len(log), log.first, log.end) == (len(kept), self.first, len(self.model))
        times = [
            t
            for _, chunk in parts.chunks(log._parts, log._start, log.first, log.end, log._p_jar)
            for t in chunk.times
        ]
        assert times[len(times) - len(kept) :] == [t for t, _ in self.model[self.first :]]


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


@pytest.mark.rule("ST4")
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(items, min_size=1, max_size=5)), max_size=25))
@settings(max_examples=100, deadline=None)
def test_additions_never_conflict_and_come_in_the_order_of_commits(steps: Any) -> None:
    space = SmallSpace()
    space.do(lambda root: root.update(log=Log()))
    clients = [space.connect() for _ in range(3)]
    waiting: list[list[Any]] = [[], [], []]
    wanted: list[Any] = []
    for who, many in steps:
        clients[who].run(lambda root, many=many: root["log"].extend(many))
        waiting[who] += many
        if len(many) > 2:
            clients[who].commit()
            wanted += waiting[who]
            waiting[who] = []
    for who in range(3):
        clients[who].commit()
        wanted += waiting[who]
    log = space.connect().root["log"]
    assert list(log) == wanted
    assert log.end == len(wanted)
