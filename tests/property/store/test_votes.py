"""Votes against a plain model: what is reserved stays as it was voted on, and a finish always succeeds in time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubbub.kernel import (
    Changeset,
    ConflictError,
    FakeClock,
    Label,
    OutcomeUnknownError,
    Record,
    ReservedError,
)
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger

pytestmark = pytest.mark.rule("ST4")

LASTS_S = 10.0

oids = st.sets(st.integers(1, 6), min_size=1, max_size=3)


class Machine(RuleBasedStateMachine):
    """One ledger; commits, votes and their ends, the disk that settles or fails, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000_000_000.0)
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, self.clock, lambda *_: "it never merges")
        self.stored: dict[int, int] = {}  # oid -> tid, settled
        self.tids: dict[int, int] = {}  # oid -> tid, decided
        self.pending: list[Any] = []
        self.votes: dict[int, tuple[set[int], set[int], float, bool]] = {}

    def changeset(self, writes: set[int], relied: set[int]) -> Changeset:
        records = [Record(oid, self.tids.get(oid, 0), "t:T", (), b"") for oid in sorted(writes)]
        current = [(oid, self.tids.get(oid, 0)) for oid in sorted(relied - writes)]
        return Changeset(0, records, current, label=Label())

    def drop_late(self) -> None:
        now = self.clock.now()
        self.votes = {number: vote for number, vote in self.votes.items() if vote[2] > now}

    def is_reserved(self, writes: set[int], relied: set[int]) -> bool:
        return any(
            (written | needed) & writes or written & (relied - writes)
            for written, needed, _, _ in self.votes.values()
        )

    def appended(self, commit: Any) -> None:
        self.pending.append(commit)
        self.tids.update({record.oid: commit.tid for record in commit.records})

    @rule(writes=oids, relied=oids)
    def commit(self, writes: set[int], relied: set[int]) -> None:
        self.drop_late()
        if self.is_reserved(writes, relied):
            with pytest.raises(ReservedError):
                self.ledger.commit_changeset(self.changeset(writes, relied))
            return
        commit, _ = self.ledger.commit_changeset(self.changeset(writes, relied))
        self.appended(commit)

    @rule(writes=oids)
    def stale_commit(self, writes: set[int]) -> None:
        self.drop_late()
        writes &= set(self.tids)
        if not writes:
            return
        stale = [Record(oid, 0, "t:T", (), b"") for oid in sorted(writes)]
        expected = ReservedError if self.is_reserved(writes, set()) else ConflictError
        with pytest.raises(expected):
            self.ledger.commit_changeset(Changeset(0, stale))

    @rule(writes=oids, relied=oids)
    def vote(self, writes: set[int], relied: set[int]) -> None:
        self.drop_late()
        if self.is_reserved(writes, relied):
            with pytest.raises(ReservedError):
                self.ledger.vote(self.changeset(writes, relied), LASTS_S)
            return
        vote = self.ledger.vote(self.changeset(writes, relied), LASTS_S)
        saw_pending = bool(self.pending)
        until = self.clock.now() + LASTS_S
        self.votes[vote.number] = writes, relied - writes, until, saw_pending

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if not self.votes:
            return
        number = data.draw(st.sampled_from(sorted(self.votes)))
        writes, *_ = self.votes.pop(number)
        commit, merged = self.ledger.finish(number)
        assert {record.oid for record in commit.records} == writes
        assert {record.tid for record in commit.records} == {commit.tid}
        assert merged == []
        self.appended(commit)
        with pytest.raises(OutcomeUnknownError):
            self.ledger.finish(number)

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.votes) or [0]))
        assert self.ledger.votes.drop(number) == (self.votes.pop(number, None) is not None)

    @rule(seconds=st.floats(0.1, 11.0))
    def time_goes_on(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.ledger.drop_late_votes()
        self.drop_late()

    @rule()
    def disk_writes(self) -> None:
        if self.pending:
            self.store.write(self.pending)
            self.ledger.settle(self.pending)
            self.ledger.absorb()
            self.pending = []
            self.stored = dict(self.tids)
            self.votes = {n: (*vote[:3], False) for n, vote in self.votes.items()}

    @rule()
    def disk_fails(self) -> None:
        if self.pending:
            self.ledger.roll_back()
            self.pending = []
            self.tids = dict(self.stored)
            self.votes = {n: vote for n, vote in self.votes.items() if not vote[3]}

    @invariant()
    def the_same_votes_are_open(self) -> None:
        assert set(self.ledger.votes.open) == set(self.votes)


TestVotes = Machine.TestCase
