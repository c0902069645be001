"""Votes reserve what they write and rely on, until they are finished, dropped or late."""

from __future__ import annotations

import pytest

from hubbub.kernel import (
    Changeset,
    FakeClock,
    Label,
    OutcomeUnknownError,
    Record,
    ReservedError,
)
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000_000.0)


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(MemoryStore(), clock, lambda *_: "it never merges")


def new(*oids: int, current: tuple[int, ...] = ()) -> Changeset:
    writes = [Record(oid, 0, "app:Thing", (), b"x") for oid in oids]
    return Changeset(0, writes, [(oid, 0) for oid in current], label=Label())


def test_what_a_vote_writes_is_reserved_until_it_is_finished(ledger: Ledger) -> None:
    vote = ledger.vote(new(1, 2), 10.0)
    with pytest.raises(ReservedError, match="object 0x2 is reserved"):
        ledger.commit_changeset(new(2, 3))
    ledger.commit_changeset(new(4))
    commit, merged = ledger.finish(vote.number)
    assert {record.tid for record in commit.records} == {commit.tid}
    assert not merged
    assert not ledger.votes


def test_what_a_vote_relies_on_may_be_relied_on_and_not_written(ledger: Ledger) -> None:
    ledger.vote(new(1, current=(9,)), 10.0)
    with pytest.raises(ReservedError):
        ledger.commit_changeset(new(9))
    ledger.commit_changeset(new(3, current=(9,)))
    with pytest.raises(ReservedError):
        ledger.commit_changeset(new(5, current=(1,)))


def test_a_wall_clock_that_jumps_gives_no_vote_up() -> None:
    class Jumping(FakeClock):
        def now(self) -> float:
            self._wall = getattr(self, "_wall", 0.0) + 1000.0
            return self._wall

    ledger = Ledger(MemoryStore(), Jumping(), lambda *_: "it never merges")
    vote = ledger.vote(new(1), 10.0)
    ledger.commit_changeset(new(2))
    with pytest.raises(ReservedError):
        ledger.commit_changeset(new(1))
    ledger.finish(vote.number)


def test_a_late_vote_is_given_up(ledger: Ledger, clock: FakeClock) -> None:
    vote = ledger.vote(new(1), 10.0)
    clock.advance(10.5)
    ledger.commit_changeset(new(1))
    with pytest.raises(OutcomeUnknownError, match="not open any more"):
        ledger.finish(vote.number)


def test_a_dropped_vote_leaves_nothing(ledger: Ledger) -> None:
    vote = ledger.vote(new(1), 10.0)
    assert ledger.votes.drop(vote.number)
    assert not ledger.votes.drop(vote.number)
    ledger.commit_changeset(new(1))


@pytest.mark.rule("ST5")
def test_a_vote_that_saw_what_is_not_stored_is_given_up(ledger: Ledger) -> None:
    over: list[bool] = []
    ledger.votes.on_over = lambda: over.append(True)
    settled = ledger.vote(new(1), 10.0)
    ledger.commit_changeset(new(2))
    doubtful = ledger.vote(new(3), 10.0)
    ledger.roll_back()
    assert over == [True]
    with pytest.raises(OutcomeUnknownError) as raised:
        ledger.finish(doubtful.number)
    assert raised.value.code == "vote_gone"
    ledger.finish(settled.number)
    assert over == [True, True]


@pytest.mark.rule("ST5")
def test_a_failure_of_the_disk_ends_only_votes_that_have_seen_what_it_took(ledger: Ledger) -> None:
    ledger.commit_changeset(new(1))
    ledger.roll_back()
    before = ledger.vote(new(1), 10.0)
    ledger.commit_changeset(new(2))
    after = ledger.vote(new(3), 10.0)
    ledger.roll_back()
    assert before.number in ledger.votes.open
    assert after.number not in ledger.votes.open
