"""What every mount does, with bare records."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hubbub.kernel import (
    Changeset,
    ClosedError,
    ConflictError,
    FeedGapError,
    Label,
    ReadOnlyError,
    Record,
    UnknownObjectError,
)
from hubbub.mount import Mount

Open = Callable[..., Mount]


def write(
    mount: Mount, oid: int, payload: bytes, read_tid: int = 0, refs: tuple[int, ...] = ()
) -> int:
    record = Record(oid, read_tid, "test:Thing", refs, payload)
    tid, _ = mount.commit(Changeset(mount.begin(), [record], label=Label(command="test")))
    return tid


def test_what_is_committed_is_read_by_all(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, other = one.new_oid(), one.new_oid()
    tid = write(one, oid, b"a", refs=(other,))
    assert one.begin() >= tid
    assert two.sync() >= tid
    for mount in (one, two):
        assert mount.load(oid, mount.begin()).fields() == (oid, tid, "test:Thing", (other,), b"a")


@pytest.mark.rule("SP1")
def test_a_snapshot_stays_as_it_was(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, late = one.new_oid(), one.new_oid()
    first = write(one, oid, b"1")
    two.sync()
    snapshot = two.begin()
    second = write(one, oid, b"2", first)
    write(one, late, b"new")
    two.sync()
    assert two.load(oid, snapshot).payload == b"1"
    with pytest.raises(UnknownObjectError):
        two.load(late, snapshot)
    assert two.load(oid, second).payload == b"2"
    assert two.load(oid, two.begin()).payload == b"2"
    assert two.load(oid, snapshot).payload == b"1"
    # Between two commits nothing else is right, whatever was kept.
    assert two.load(oid, second - 1).payload == b"1"


@pytest.mark.rule("ST4")
def test_the_first_to_commit_wins(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid, beside = one.new_oid(), one.new_oid()
    first = write(one, oid, b"1")
    second = write(one, oid, b"2", first)
    records = [
        Record(beside, 0, "test:Thing", (), b"x"),
        Record(oid, first, "test:Thing", (), b"3"),
    ]
    with pytest.raises(ConflictError) as raised:
        two.commit(Changeset(first, records))
    error = raised.value
    assert (error.oid, error.class_name) == (oid, "test:Thing")
    assert (error.read_tid, error.committed_tid) == (first, second)
    assert "test:Thing" in str(error)
    two.sync()
    with pytest.raises(UnknownObjectError):
        two.load(beside, two.begin())
    assert two.load(oid, two.begin()).payload == b"2"


@pytest.mark.rule("SP6")
def test_what_was_relied_on_must_not_have_changed(open_mount: Open) -> None:
    one = open_mount()
    oid, relied = one.new_oid(), one.new_oid()
    first = write(one, relied, b"1")
    write(one, relied, b"2", first)
    with pytest.raises(ConflictError, match="relied on"):
        one.commit(Changeset(first, [Record(oid, 0, "test:Thing", (), b"x")], [(relied, first)]))


def test_it_tells_what_changed(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oids = [one.new_oid() for _ in range(3)]
    start = two.begin()
    tids = [write(one, oid, b"x") for oid in oids]
    two.sync()
    newest, changed = two.changed_since(start)
    assert (newest, changed) == (tids[-1], frozenset(oids))
    assert two.changed_since(tids[1]) == (tids[-1], frozenset(oids[2:]))
    assert two.changed_since(tids[2]) == (tids[-1], frozenset())
    own, changed = one.changed_since(start)
    assert own == tids[-1]
    assert changed is not None
    assert changed <= frozenset(oids)


def test_waiting_ends_with_the_next_commit(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    before = two.begin()
    seen: list[int] = []
    waiting = threading.Thread(target=lambda: seen.append(two.wait(before, 30)))
    waiting.start()
    tid = write(one, one.new_oid(), b"x")
    waiting.join(10)
    assert seen == [tid]
    assert two.wait(before, 30) == tid


def test_waiting_ends_when_its_time_is_over(open_mount: Open) -> None:
    mount = open_mount()
    assert mount.wait(mount.begin(), 0.05) == mount.begin()


def test_closing_ends_those_who_wait(open_mount: Open) -> None:
    mount = open_mount()
    ends: list[BaseException] = []
    began = threading.Barrier(4)

    def wait() -> None:
        tid = mount.begin()
        began.wait(10)
        try:
            mount.wait(tid)
        except ClosedError as error:
            ends.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    began.wait(10)
    mount.close()
    mount.close()
    for thread in threads:
        thread.join(10)
    assert len(ends) == 3
    for call in (mount.begin, mount.new_oid, mount.sync, lambda: mount.load(0, 0)):
        with pytest.raises(ClosedError):
            call()


def test_a_read_only_mount_stores_nothing(open_mount: Open) -> None:
    mount = open_mount(read_only=True)
    with pytest.raises(ReadOnlyError):
        mount.commit(Changeset(mount.begin(), [Record(1, 0, "test:Thing", (), b"x")]))


def test_oids_are_given_once(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    given: list[int] = []

    def take(mount: Mount) -> None:
        given.extend(mount.new_oid() for _ in range(1200))

    threads = [threading.Thread(target=take, args=(mount,)) for mount in (one, two, one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(given) == len(set(given)) == 4800


@pytest.mark.rule("ST4", "ST2")
def test_many_threads_lose_nothing(open_mount: Open) -> None:
    mounts = [open_mount(), open_mount()]
    oid = mounts[0].new_oid()
    write(mounts[0], oid, b"0")
    mounts[1].sync()
    failures: list[BaseException] = []

    def count(mount: Mount) -> None:
        try:
            for _ in range(25):
                while True:
                    at = mount.begin()
                    old = mount.load(oid, at)
                    new = Record(oid, old.tid, "test:Thing", (), b"%d" % (int(old.payload) + 1))
                    try:
                        tid, _ = mount.commit(Changeset(at, [new]))
                    except ConflictError as error:
                        assert error.committed_tid > old.tid  # noqa: PT017
                        # What made it fail is known now, or will be in a moment: without this it spins.
                        mount.sync()
                        continue
                    assert mount.begin() >= tid
                    assert int(mount.load(oid, mount.begin()).payload) >= int(new.payload)
                    break
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=count, args=(mounts[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    for mount in mounts:
        mount.sync()
        assert mount.load(oid, mount.begin()).payload == b"150"


@pytest.mark.rule("ST1")
def test_the_feed_tells_every_commit_in_order_from_any_tid(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oids = [one.new_oid() for _ in range(5)]
    tids = [write(one, oid, b"x") for oid in oids]
    two.sync()
    assert [(e.tid, e.oids, e.label.command) for e in two.feed(0)] == [
        (tid, (oid,), "test") for tid, oid in zip(tids, oids, strict=True)
    ]
    assert [e.tid for e in two.feed(tids[1])] == tids[2:]
    assert [e.tid for e in two.feed(tids[1], 2)] == tids[2:4]
    assert two.feed(tids[-1]) == []
    write(one, one.new_oid(), b"y")
    assert len(two.feed(tids[-1])) == (len(one.feed(tids[-1])))


def test_a_feed_from_the_future_says_so(open_mount: Open) -> None:
    mount = open_mount()
    tid = write(mount, mount.new_oid(), b"x")
    with pytest.raises(FeedGapError, match="in the future"):
        mount.feed(tid + 1)
