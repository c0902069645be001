"""A vote reserves what it needs until it is finished, dropped or late: on every mount (the design's section 5)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hubbub.kernel import (
    Changeset,
    ConflictError,
    Label,
    OutcomeUnknownError,
    ReadOnlyError,
    Record,
    UnknownObjectError,
)
from hubbub.mount import Mount
from hubbub.store import votes as store_votes

Open = Callable[..., Mount]


def changeset(
    *writes: tuple[int, int, bytes], current: tuple[tuple[int, int], ...] = ()
) -> Changeset:
    records = [Record(oid, tid, "test:Thing", (), payload) for oid, tid, payload in writes]
    return Changeset(0, records, list(current), label=Label(command="test"))


def test_a_vote_is_stored_when_it_is_finished(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid = one.new_oid()
    ballot = one.vote(changeset((oid, 0, b"1")))
    assert ballot.merged == []
    with pytest.raises(UnknownObjectError):
        two.load(oid, two.sync())
    tid, merged = one.finish(ballot)
    assert merged == []
    assert one.begin() >= tid
    assert one.load(oid, one.begin()).fields() == (oid, tid, "test:Thing", (), b"1")
    assert two.load(oid, two.sync()).payload == b"1"


def test_a_vote_that_is_dropped_leaves_nothing(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid = one.new_oid()
    ballot = one.vote(changeset((oid, 0, b"1")))
    one.drop(ballot)
    one.drop(ballot)
    one.sync()
    tid, _ = two.commit(changeset((oid, 0, b"2")))
    assert one.load(oid, one.sync()).tid == tid


@pytest.mark.rule("ST4")
def test_a_stale_vote_is_a_conflict_and_reserves_nothing(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, beside = one.new_oid(), one.new_oid()
    first, _ = one.commit(changeset((oid, 0, b"1")))
    second, _ = one.commit(changeset((oid, first, b"2")))
    with pytest.raises(ConflictError):
        two.vote(changeset((beside, 0, b"x"), (oid, first, b"3")))
    two.commit(changeset((beside, 0, b"y")))
    third, _ = two.commit(changeset((oid, second, b"4")))
    with pytest.raises(ConflictError):
        one.vote(changeset((one.new_oid(), 0, b"x"), current=((oid, second),)))
    assert third


def waits(fn: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start ``fn`` in a thread; what it returns or raises is put into the list."""
    ends: list[object] = []

    def run() -> None:
        try:
            ends.append(fn())
        except Exception as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ends


def test_who_wants_what_is_reserved_waits_and_others_go_on(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, other = one.new_oid(), one.new_oid()
    first, _ = one.commit(changeset((oid, 0, b"1")))
    ballot = one.vote(changeset((oid, first, b"2")))
    thread, ends = waits(lambda: two.commit(changeset((oid, first, b"3"))))
    relying, relied = waits(
        lambda: two.commit(changeset((two.new_oid(), 0, b"r"), current=((oid, first),)))
    )
    # Others are not held up.
    two.commit(changeset((other, 0, b"x")))
    assert not ends
    assert not relied
    tid, _ = one.finish(ballot)
    thread.join(20)
    relying.join(20)
    for end in (*ends, *relied):
        assert isinstance(end, ConflictError)
        assert end.committed_tid == tid


def test_who_waits_for_a_vote_that_is_dropped_is_stored(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid = one.new_oid()
    ballot = one.vote(changeset((oid, 0, b"1")))
    thread, ends = waits(lambda: two.commit(changeset((oid, 0, b"2"))))
    voter, votes = waits(lambda: two.vote(changeset((oid, 0, b"3"))))
    one.drop(ballot)
    thread.join(20)
    voter.join(20)
    # One of the two came first; the other had to see that.
    (commit,), (vote,) = ends, votes
    stored = [end for end in (commit, vote) if not isinstance(end, Exception)]
    if isinstance(vote, ConflictError):
        assert stored == [commit]
    else:
        assert isinstance(commit, ConflictError) or stored


def test_a_late_vote_makes_way_and_is_stored_only_if_nobody_minds(
    open_mount: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_mount(), open_mount()
    for module in ("hubbub.mount.local", "hubbub.perspective.applying"):
        monkeypatch.setattr(f"{module}.VOTE_S", 0.0)
    contested, quiet = one.new_oid(), one.new_oid()
    first = one.vote(changeset((contested, 0, b"1")))
    tid, _ = two.commit(changeset((contested, 0, b"2")))
    with pytest.raises(OutcomeUnknownError, match="Nothing of it was stored here") as raised:
        one.finish(first)
    assert raised.value.code == store_votes.VOTE_GONE
    assert one.load(contested, one.sync()).tid == tid
    second = one.vote(changeset((quiet, 0, b"3")))
    two.commit(changeset((two.new_oid(), 0, b"x")))
    tid, _ = one.finish(second)
    assert two.load(quiet, two.sync()).tid == tid


def test_a_read_only_mount_does_not_vote(open_mount: Open) -> None:
    mount = open_mount(read_only=True)
    with pytest.raises(ReadOnlyError):
        mount.vote(changeset((mount.new_oid(), 0, b"1")))


def test_many_votes_are_open_at_a_time(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    ballots = [one.vote(changeset((one.new_oid(), 0, b"%d" % n))) for n in range(20)]
    tids = [one.finish(ballot)[0] for ballot in reversed(ballots)]
    assert tids == sorted(tids)
    two.sync()
    for ballot in ballots:
        assert ballot.changeset is not None
        (write,) = ballot.changeset.writes
        assert two.load(write.oid, two.begin()).payload == write.payload
