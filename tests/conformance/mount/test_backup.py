"""Backups and copies through every mount."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubbub.backup import back_up, copy_current, copy_history, restore
from hubbub.gateway.peers import PeerOptions
from hubbub.kernel import Changeset, Label, LimitError, ReadOnlyError, Record
from hubbub.mount import LocalMount, Mount, RemoteMount
from hubbub.store import MemoryStore, SQLiteStore
from tests.conformance.mount.serving import HostThread
from tests.conformance.store.building import commit

Open = Callable[..., Mount]


def write(mount: Mount, oid: int, read: int, payload: bytes) -> int:
    records = [
        Record(oid, read, "test:Thing", (7,), payload),
        Record(mount.new_oid(), 0, "test:New", (), b"\x80"),
    ]
    return mount.commit(Changeset(0, records, label=Label(command="test")))[0]


@pytest.mark.rule("ST1", "ST2")
def test_a_backup_while_four_write_is_some_moment_of_the_space(
    open_mount: Open, tmp_path: Path
) -> None:
    mount = open_mount()
    stop = threading.Event()
    has_begun = threading.Event()
    acknowledged: list[int] = []

    def work(mount: Mount) -> None:
        oid, read = mount.new_oid(), 0
        while not stop.is_set():
            read = write(mount, oid, read, b"%d" % read)
            acknowledged.append(read)
            has_begun.set()

    threads = [threading.Thread(target=work, args=(open_mount(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    ends = []
    try:
        for _ in range(3):
            assert has_begun.wait(10)
            known = max(acknowledged)
            report = back_up(mount, tmp_path / "backup")
            assert report.last >= known
            ends.append(report.last)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    mount.sync()
    for number, end in enumerate(ends):
        path = tmp_path / f"{number}.hub"
        restore(tmp_path / "backup", path, at=end)
        store = SQLiteStore(path)
        want = mount.upkeep.commits(0, end, 1 << 30)
        assert store.commits(0, end, 1 << 40) == want
        assert {tid for tid in acknowledged if tid <= end} <= {commit.tid for commit in want}
        store.close()


def test_a_commit_that_is_too_large_for_a_message_is_saved(
    open_mount: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = open_mount()
    staged = mount.stage()
    staged.write_bytes(b"blob")
    records = [Record(oid, 0, "test:Blob", (), b"x" * 1000) for oid in range(3, 50)]
    mount.commit(Changeset(0, records, blobs={7: staged.name}))
    write(mount, 100, 0, b"y")
    want = mount.upkeep.commits(0, mount.begin())
    whole = mount.upkeep.commits

    def commits(after: int, end: int, most_bytes: int = 0) -> Any:
        found = whole(after, end, 1)
        if sum(len(record.payload) for record in found[0].records) > 10_000:
            raise LimitError("too large for one message")
        return found

    monkeypatch.setattr(mount.upkeep, "commits", commits)
    assert back_up(mount, tmp_path / "backup").blobs == 1
    restore(tmp_path / "backup", tmp_path / "new.hub")
    store = SQLiteStore(tmp_path / "new.hub")
    assert store.commits(0, store.last_tid, 1 << 40) == want
    assert store.blob(7, want[0].tid).read_bytes() == b"blob"
    store.close()


def test_more_rows_than_a_message_holds_are_saved(tmp_path: Path) -> None:
    source = MemoryStore()
    rows = [("session", b"%06d" % number, b"x" * 1000) for number in range(6000)]
    source.write([commit(1, [3], rows)])
    host = HostThread(source, options=PeerOptions(max_message_bytes=1 << 20))
    mount = RemoteMount(host.url)
    try:
        assert mount.upkeep.all_rows()[1] == rows
        back_up(mount, tmp_path / "backup")
    finally:
        mount.close()
        host.close()
    restore(tmp_path / "backup", tmp_path / "new.hub")
    store = SQLiteStore(tmp_path / "new.hub")
    assert store.all_rows()[1] == rows
    store.close()


def test_who_may_only_read_gets_no_sessions(open_mount: Open, tmp_path: Path) -> None:
    mount = open_mount(read_only=True)
    if isinstance(mount, RemoteMount):
        with pytest.raises(
            ReadOnlyError, match="a backup or copy of all rows is for peers that may write"
        ):
            back_up(mount, tmp_path / "backup")


@pytest.mark.parametrize("history", [True, False])
def test_a_copy_out_of_and_into_every_mount(open_mount: Open, history: bool) -> None:
    mount = open_mount()
    first = MemoryStore()
    source = LocalMount(first)
    tid = 0
    for number in range(5):
        tid = write(source, 3, tid, b"%d" % number)
    copy = copy_history if history else copy_current
    there = copy(source, mount)
    assert there.records == (10 if history else 6)
    back = MemoryStore()
    again = copy(mount, LocalMount(back))
    assert again.records == there.records
    fields = [(r.oid, r.class_name, r.refs, r.payload) for r in first.current(-1, tid, 99)]
    assert fields == [
        (r.oid, r.class_name, r.refs, r.payload) for r in back.current(-1, back.last_tid, 99)
    ]
    if history:
        assert back.commits(0, tid, 1 << 20) == first.commits(0, tid, 1 << 20)
    # Whoever comes after it gets no oid that is taken.
    other = open_mount()
    write(other, 3, other.load(3, other.begin()).tid, b"new")


@pytest.mark.rule("ST7")
def test_a_backup_goes_on_while_the_space_is_packed_again_and_again(
    open_mount: Open, tmp_path: Path
) -> None:
    mount = open_mount()
    stop, has_begun = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def work(mount: Mount) -> None:
        oid, read = mount.new_oid(), 0
        while not stop.is_set():
            read = write(mount, oid, read, b"%d" % read)

    def pack(mount: Mount) -> None:
        try:
            while not stop.is_set():
                mount.upkeep.pack(collect=False)
                has_begun.set()
        except BaseException as error:
            failed.append(error)
            has_begun.set()

    threads = [threading.Thread(target=work, args=(open_mount(),)) for _ in range(4)]
    threads.append(threading.Thread(target=pack, args=(open_mount(),)))
    for thread in threads:
        thread.start()
    ends = []
    try:
        assert has_begun.wait(20)
        for _ in range(4):
            ends.append(back_up(mount, tmp_path / "backup").last)
            there = {record.oid for record in mount.upkeep.current(-1, ends[-1], 100_000)}
            path = tmp_path / f"{ends[-1]}.hub"
            restore(tmp_path / "backup", path)
            store = SQLiteStore(path)
            assert store.last_tid == ends[-1]
            # Nothing was taken away here but the past: what there was then is all there.
            assert {r.oid for r in store.current(-1, ends[-1], 100_000)} >= there
            store.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
