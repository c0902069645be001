"""The ledger: order, validation, merging, settling, rolling back."""

from __future__ import annotations

import pytest

from hubbub.kernel import (
    Changeset,
    Commit,
    ConflictError,
    FakeClock,
    Label,
    Record,
    Tid,
    UnknownObjectError,
    ephemeral_oid,
    tid_at,
)
from hubbub.store import MemoryStore
from hubbub.store.ledger import Ledger


def concatenate(old: Record, committed: Record, new: Record) -> tuple[bytes, tuple[int, ...]] | str:
    """Merge by keeping both sides' additions to the payload."""
    if new.class_name != "Text":
        return "its class has no merge"
    return committed.payload + new.payload[len(old.payload) :], ()


def make() -> tuple[Ledger, MemoryStore, FakeClock]:
    clock, store = FakeClock(), MemoryStore()
    return Ledger(store, clock, concatenate, cache_records=4), store, clock


def record(oid: int, tid: int, payload: bytes, name: str = "Text") -> Record:
    return Record(oid, tid, name, (), payload)


def decide(ledger: Ledger, *records: Record) -> Commit:
    tid = ledger.next_tid()
    for one in records:
        one.tid = tid
    commit = Commit(tid, Label(), list(records))
    ledger.append(commit)
    return commit


def settle(ledger: Ledger, store: MemoryStore, *commits: Commit) -> None:
    store.write([c for c in commits if c.is_durable])
    ledger.settle(commits)
    ledger.absorb()


@pytest.mark.rule("ST1")
def test_tids_grow_even_when_the_clock_stands_still_or_goes_back() -> None:
    ledger, _, clock = make()
    first = decide(ledger, record(1, 0, b"a")).tid
    second = decide(ledger, record(1, 0, b"b")).tid
    clock.advance(60)
    third = decide(ledger, record(1, 0, b"c")).tid
    assert first == tid_at(FakeClock().now())
    assert second == first + 1
    assert third == tid_at(clock.now())


@pytest.mark.rule("ST2")
def test_what_is_not_settled_is_not_given_to_other_threads() -> None:
    ledger, store, _ = make()
    commit = decide(ledger, record(1, 0, b"a"))
    assert ledger.load_latest(1).payload == b"a"
    with pytest.raises(UnknownObjectError):
        ledger.load(1)
    assert ledger.settled_tid == 0
    settle(ledger, store, commit)
    assert ledger.load(1).payload == b"a"
    assert ledger.settled_tid == commit.tid


def test_a_load_at_a_tid_is_not_disturbed_by_later_commits() -> None:
    ledger, store, _ = make()
    first = decide(ledger, record(1, 0, b"a"))
    settle(ledger, store, first)
    second = decide(ledger, record(1, 0, b"b"))
    settle(ledger, store, second)
    assert ledger.load(1, first.tid).payload == b"a"
    assert ledger.load(1, second.tid).payload == b"b"
    assert ledger.load(1).payload == b"b"


@pytest.mark.rule("ST4")
def test_the_first_to_commit_wins_and_the_error_names_object_class_and_both_tids() -> None:
    ledger, store, _ = make()
    first = decide(ledger, record(1, 0, b"a", "Fixed"))
    settle(ledger, store, first)
    second = decide(ledger, record(1, 0, b"b", "Fixed"))
    late = Changeset(first.tid, [record(1, first.tid, b"c", "Fixed"), record(2, 0, b"new")])
    with pytest.raises(ConflictError) as caught:
        ledger.commit_changeset(late)
    error = caught.value
    assert (error.oid, error.class_name, error.read_tid, error.committed_tid) == (
        1,
        "Fixed",
        first.tid,
        second.tid,
    )
    with pytest.raises(UnknownObjectError):
        ledger.load_latest(2)


@pytest.mark.rule("ST4")
def test_a_stale_write_is_merged_where_the_class_can() -> None:
    ledger, store, _ = make()
    first = decide(ledger, record(1, 0, b"a"))
    settle(ledger, store, first)
    settle(ledger, store, decide(ledger, record(1, 0, b"ab")))
    commit, merged = ledger.commit_changeset(Changeset(first.tid, [record(1, first.tid, b"ac")]))
    assert merged == [1]
    assert [r.payload for r in commit.records] == [b"abc"]


@pytest.mark.rule("ST4")
def test_two_who_make_the_same_object_conflict() -> None:
    ledger, _, _ = make()
    ledger.commit_changeset(Changeset(0, [record(1, 0, b"a")]))
    with pytest.raises(ConflictError, match="made by both"):
        ledger.commit_changeset(Changeset(0, [record(1, 0, b"b")]))


@pytest.mark.rule("SP6")
def test_what_was_relied_on_must_not_have_changed() -> None:
    ledger, _, _ = make()
    commit, _ = ledger.commit_changeset(Changeset(0, [record(1, 0, b"a")]))
    ledger.commit_changeset(Changeset(0, [record(1, commit.tid, b"b")]))
    with pytest.raises(ConflictError, match="relied on"):
        ledger.commit_changeset(Changeset(0, [record(2, 0, b"x")], current=[(1, commit.tid)]))


def test_an_attempt_that_is_repeated_is_found_by_its_key_also_after_a_restart() -> None:
    ledger, store, clock = make()
    commit, _ = ledger.commit_changeset(Changeset(0, [record(1, 0, b"a")], key=b"k"))
    assert ledger.outcome_of(b"k") == commit.tid
    settle(ledger, store, commit)
    assert Ledger(store.reopen(), clock, concatenate).outcome_of(b"k") == commit.tid


def test_keys_whose_answers_arrived_are_forgotten() -> None:
    ledger, store, _ = make()
    first, _ = ledger.commit_changeset(Changeset(0, [record(1, 0, b"a")], key=b"k"))
    second, _ = ledger.commit_changeset(Changeset(0, [record(2, 0, b"a")]), done=[b"k"])
    settle(ledger, store, first, second)
    assert ledger.outcome_of(b"k") is None


@pytest.mark.rule("ST5")
def test_rolling_back_returns_to_what_is_settled_and_forgets_keys() -> None:
    ledger, store, _ = make()
    settle(ledger, store, decide(ledger, record(1, 0, b"a")))
    decide(ledger, record(1, 0, b"b"))
    ledger.commit_changeset(Changeset(0, [record(2, 0, b"x")], key=b"k"))
    assert ledger.roll_back() == {1, 2}
    assert ledger.load_latest(1).payload == b"a"
    assert ledger.outcome_of(b"k") is None
    with pytest.raises(UnknownObjectError):
        ledger.load_latest(2)


@pytest.mark.rule("LV1")
def test_ephemeral_and_durable_objects_are_absorbed_at_one_tid() -> None:
    ledger, store, _ = make()
    ghost = ephemeral_oid(1)
    commit = decide(ledger, record(1, 0, b"a"))
    together = Commit(
        ledger.next_tid(), Label(), [record(1, 0, b"b")], ephemerals=[record(ghost, 0, b"e")]
    )
    for one in (*together.records, *together.ephemerals):
        one.tid = together.tid
    ledger.append(together)
    store.write([commit])
    ledger.settle([commit])
    ledger.absorb()
    assert ledger.load_absorbed(1).payload == b"a"
    with pytest.raises(UnknownObjectError):
        ledger.load_absorbed(ghost)
    store.write([together])
    ledger.settle([together])
    # Settled, and visible to other threads; but a query that runs now still sees the moment before.
    assert ledger.load_absorbed(1).payload == b"a"
    ledger.absorb()
    assert ledger.load_absorbed(1).payload == b"b"
    assert ledger.load_absorbed(ghost).payload == b"e"


def test_the_cache_is_bounded_and_misses_come_from_the_store() -> None:
    ledger, store, _ = make()
    for number in range(1, 50):
        settle(ledger, store, decide(ledger, record(number, 0, b"%d" % number)))
    assert [ledger.load(n).payload for n in range(1, 50)] == [b"%d" % n for n in range(1, 50)]
    assert len(ledger._young) + len(ledger._old) <= 6


def test_of_an_object_written_again_and_again_in_a_group_the_last_state_is_kept() -> None:
    ledger, store, _ = make()
    group = [decide(ledger, record(1, 0, b"%d" % n), record(n, 0, b"x")) for n in range(2, 12)]
    settle(ledger, store, *group)
    assert ledger.load(1).payload == b"11"
    assert ledger.load(1, group[3].tid).payload == b"5"
    assert ledger.settled_tid == group[-1].tid
    assert len(ledger._young) + len(ledger._old) <= 6


def test_oids_are_given_once() -> None:
    ledger, store, clock = make()
    given = [ledger.new_oid() for _ in range(3)] + list(ledger.new_oids(3))
    assert len(set(given)) == 6
    settle(ledger, store, decide(ledger, record(given[-1], 0, b"a")))
    assert Ledger(store.reopen(), clock, concatenate).new_oid() > given[-1]


def test_a_settled_commit_without_records_moves_the_settled_tid() -> None:
    ledger, _, _ = make()
    commit = Commit(Tid(ledger.next_tid()), Label())
    ledger.append(commit)
    ledger.settle([commit])
    assert ledger.settled_tid == commit.tid
    assert ledger.absorb() == [commit]


@pytest.mark.rule("ST4", "ST7")
def test_what_was_read_and_is_packed_away_is_a_conflict() -> None:
    ledger, store, _ = make()
    root = decide(ledger, Record(0, 0, "Text", (1,), b""))
    commits = [decide(ledger, record(1, 0, text), record(9, 0, text)) for text in (b"a", b"ab")]
    settle(ledger, store, root, *commits)
    store.pack(store.last_tid)
    ledger.forget_cached()
    for oid, why in ((1, "what was read is packed away"), (9, "nothing referred to it any more")):
        late = Changeset(commits[0].tid, [record(oid, commits[0].tid, b"ac")])
        with pytest.raises(ConflictError, match=why):
            ledger.commit_changeset(late)
    newest = Changeset(commits[1].tid, [record(1, commits[1].tid, b"abc")])
    assert ledger.commit_changeset(newest)[0].records[0].payload == b"abc"


def test_what_is_kept_in_memory_is_bounded_in_bytes() -> None:
    store = MemoryStore()
    ledger = Ledger(store, FakeClock(), lambda *_: "it never merges", cache_bytes=10_000)
    for oid in range(1, 101):
        writes = [Record(oid, 0, "app:Thing", (), b"x" * 1000)]
        commit, _ = ledger.commit_changeset(Changeset(0, writes, label=Label()))
        store.write([commit])
        ledger.settle([commit])
        ledger.absorb()
    tid = ledger.settled_tid
    assert 1 <= sum(ledger.at_hand(oid, tid) is not None for oid in range(1, 101)) <= 11
    for oid in range(1, 101):
        assert ledger.load(oid).payload == b"x" * 1000
    assert sum(ledger.at_hand(oid, tid) is not None for oid in range(1, 101)) <= 11
