"""What every store guarantees of the files of blobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hubbub.kernel import (
    ClosedError,
    Commit,
    CorruptRecordError,
    LocalProtocolError,
    UnknownObjectError,
)
from hubbub.store import Store
from tests.conformance.store.building import commit, tid
from tests.conformance.store.test_contract import Reopen, kind, reopen, store

__all__ = ["kind", "reopen", "store"]


def staged(store: Store, content: bytes) -> str:
    path = store.stage(".png")
    path.write_bytes(content)
    return path.name


def with_blobs(number: int, blobs: dict[int, str], more: tuple[int, ...] = ()) -> Commit:
    made = commit(number, [*blobs, *more])
    made.blobs = blobs
    return made


@pytest.mark.rule("ST2", "ST7")
def test_a_staged_file_becomes_the_blob_of_its_record_and_stays(
    store: Store, reopen: Reopen
) -> None:
    store.write(
        [
            with_blobs(1, {5: staged(store, b"one"), 6: staged(store, b"")}, (7,)),
            with_blobs(2, {5: staged(store, b"two")}),
        ]
    )
    for again in (False, True):
        found = reopen(store) if again else store
        assert found.blob(5, tid(1)).read_bytes() == b"one"
        assert found.blob(5, tid(2)).read_bytes() == b"two"
        assert found.blob(6, tid(1)).read_bytes() == b""
        for oid, number in ((7, 1), (6, 2), (5, 3), (9, 1)):
            with pytest.raises(UnknownObjectError):
                found.blob(oid, tid(number))
    found.write([with_blobs(3, {5: staged(found, b"three")})])
    assert found.blob(5, tid(3)).read_bytes() == b"three"


def test_a_blob_can_t_be_written_to_by_chance(store: Store) -> None:
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    assert not store.blob(5, tid(1)).stat().st_mode & 0o222


def test_an_older_blob_may_be_shared_by_a_hard_link(store: Store) -> None:
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    path = store.stage()
    path.unlink()
    os.link(store.blob(5, tid(1)), path)
    store.write([with_blobs(2, {5: path.name})])
    assert store.blob(5, tid(2)).samefile(store.blob(5, tid(1)))


def test_what_is_unstaged_is_gone_and_a_committed_file_stays(store: Store) -> None:
    one, two = staged(store, b"one"), store.stage()
    store.unstage(two.name)
    store.unstage(two.name)
    assert not two.exists()
    store.write([with_blobs(1, {5: one})])
    store.unstage(one)
    assert store.blob(5, tid(1)).read_bytes() == b"one"


@pytest.mark.parametrize("name", ["nothing", "../../chat.hub", ""])
def test_a_file_that_is_not_staged_is_refused_and_nothing_changes(store: Store, name: str) -> None:
    good = staged(store, b"one")
    with pytest.raises(LocalProtocolError, match="is not staged here"):
        store.write([with_blobs(1, {4: good}), with_blobs(2, {5: name})])
    assert store.last_tid == 0
    store.write([with_blobs(3, {5: good})])
    with pytest.raises(LocalProtocolError, match="is not staged here"):
        store.write([with_blobs(4, {5: good})])


def test_a_blob_needs_a_record_and_a_file_of_its_own(store: Store) -> None:
    stray = with_blobs(1, {5: staged(store, b"one")})
    stray.records = commit(1, [6]).records
    name = staged(store, b"two")
    for wrong in (stray, with_blobs(1, {5: name, 6: name})):
        with pytest.raises(LocalProtocolError, match="does not write, or one file for two"):
            store.write([wrong])


@pytest.mark.parametrize("suffix", ["/x", "../x", "a b", "é", "x" * 65])
def test_a_suffix_leads_nowhere_else(store: Store, suffix: str) -> None:
    with pytest.raises(LocalProtocolError, match="can't end in"):
        store.stage(suffix)


@pytest.mark.rule("ST6")
def test_a_missing_or_a_shorter_file_is_damage_with_oid_and_tid(store: Store) -> None:
    store.write([with_blobs(1, {5: staged(store, b"one"), 6: staged(store, b"two")})])
    for oid, what in ((5, "is missing"), (6, "has 1 bytes in place of 3")):
        path = store.blob(oid, tid(1))
        path.unlink()
        if oid == 6:
            path.write_bytes(b"t")
        with pytest.raises(CorruptRecordError, match=what) as caught:
            store.blob(oid, tid(1))
        assert (caught.value.oid, caught.value.tid) == (oid, tid(1))


def test_a_closed_store_has_no_blobs(store: Store) -> None:
    store.write([with_blobs(1, {5: staged(store, b"one")})])
    store.close()
    for use in (
        store.stage,
        lambda: store.seal("x"),
        lambda: store.unstage("x"),
        lambda: store.blob(5, tid(1)),
    ):
        with pytest.raises(ClosedError):
            use()


def test_many_files_are_spread_over_folders(store: Store) -> None:
    oids = [*range(250, 260), 1 << 16, (1 << 61) - 1]
    store.write([with_blobs(1, {oid: staged(store, b"%d" % oid) for oid in oids})])
    paths = [store.blob(oid, tid(1)) for oid in oids]
    assert [int(path.read_bytes()) for path in paths] == oids
    assert len({path.parent for path in paths}) == 4
    assert all(isinstance(path, Path) for path in paths)


def test_commits_tell_of_their_blobs_and_rows_do_not(store: Store) -> None:
    rows = [("job", b"k", b"v")]
    written = with_blobs(1, {5: staged(store, b"one"), 6: staged(store, b"")}, (7,))
    written.rows = rows
    store.write([written, commit(2, [5])])
    for _ in range(2):
        first, second = store.commits(0, tid(2), 1000)
        assert (first.blobs, second.blobs) == ({5: 3, 6: 0}, {})
        assert store.all_rows() == (tid(2), rows)
        store.stats()  # has what is recent put into the tables


def test_a_folder_goes_with_its_last_blob_and_comes_again(store: Store) -> None:
    store.write([with_blobs(1, {5: staged(store, b"one")}, (0,))])
    folder = store.blob(5, tid(1)).parent
    store.write([commit(2, [0])])
    store.pack(store.last_tid)
    assert not folder.exists()
    store.write([with_blobs(3, {5: staged(store, b"two"), 6: staged(store, b"three")})])
    assert store.blob(5, tid(3)).read_bytes() == b"two"
    assert store.blob(6, tid(3)).parent == folder


@pytest.mark.rule("ST6")
def test_a_flipped_bit_in_a_blob_is_found(store: Store) -> None:
    content = bytes(range(256)) * 5000
    names = [staged(store, content) for _ in range(3)]
    store.seal(names[0])
    store.seal(names[1])
    with store.stage().with_name(names[1]).open("ab") as file:
        file.write(b"more, behind the seal")
    store.write([with_blobs(1, {0: names[0], 1: names[1], 2: names[2]}, (3, 7))])
    damages = [d for d in store.verify() if "blob" in d.what]
    assert damages == []
    path = store.blob(2, tid(1))
    path.chmod(0o644)
    flipped = bytearray(content)
    flipped[700_000] ^= 4
    path.write_bytes(flipped)
    damages = [d for d in store.verify() if "blob" in d.what]
    assert [(d.oid, d.tid) for d in damages] == [(2, tid(1))]
    assert "checksum does not match" in damages[0].what


def test_what_is_not_staged_is_not_sealed(store: Store) -> None:
    with pytest.raises(LocalProtocolError, match="is not staged here"):
        store.seal("nothing")
