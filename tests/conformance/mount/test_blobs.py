"""Blobs on every mount: transactional, streamed, checked."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hubbub
from hubbub.kernel import (
    Changeset,
    ConflictError,
    CorruptRecordError,
    NoTransactionError,
    ReadOnlyError,
    Record,
    UnknownObjectError,
    UnstorableError,
)
from hubbub.mount import Mount, RemoteMount, Space
from hubbub.space.blob import Blob

Open = Callable[..., Mount]


def put(root: Any, data: bytes | None = b"first") -> None:
    root["blob"] = Blob(data)


def read(root: Any) -> bytes:
    return bytes(root["blob"].read())


def test_what_is_written_is_read_by_all(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())
    data = bytes(range(256)) * 20_000
    one.run(put, data)
    assert one.read(read) == data
    two.sync()
    assert two.read(read) == data
    blob = two.connect().root["blob"]
    assert (blob.size, blob.digest) == (len(data), hashlib.sha256(data).hexdigest())
    with blob.open() as file:
        assert file.seek(1_000_000) == 1_000_000
        assert file.read(10) == data[1_000_000:1_000_010]
        assert file.seek(-3, 2) == len(data) - 3
        assert file.read() == data[-3:]
        file.seek(0)
        assert file.read() == data


def test_all_ways_to_write(open_mount: Open, tmp_path: Path) -> None:
    space = Space(open_mount())
    space.run(put, None)
    assert space.read(read) == b""

    def write(root: Any, how: Callable[[Blob], None]) -> bytes:
        how(root["blob"])
        return bytes(root["blob"].read())  # seen at once

    def by_hand(blob: Blob) -> None:
        with blob.open("w") as file:
            file.write(b"by ")
            file.write(bytearray(b"hand"))
            assert file.tell() == 7
        with blob.open("a") as file:
            file.write(b", and on")

    def consumed(blob: Blob) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"a file")
        blob.consume_file(source)
        assert not source.exists()

    for how, wanted in (
        (by_hand, b"by hand, and on"),
        (lambda blob: blob.write_from(b"bytes"), b"bytes"),
        (lambda blob: blob.write_from(io.BytesIO(b"a stream")), b"a stream"),
        (lambda blob: blob.write_from(piece for piece in (b"pie", b"ces")), b"pieces"),
        (consumed, b"a file"),
        (lambda blob: blob.open("w").close(), b""),
    ):
        assert space.run(write, how) == wanted
        assert space.read(read) == wanted
    space.run(put, b"saved")
    space.read(lambda root: root["blob"].save_to(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == b"saved"


@pytest.mark.rule("SP1")
def test_others_see_it_after_the_commit_and_a_snapshot_keeps_what_it_had(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())
    one.run(put, b"1")
    two.sync()
    before = two.connect()
    assert before.root["blob"].read() == b"1"
    with one.transaction() as root:
        root["blob"].write_from(b"2")
        assert root["blob"].read() == b"2"
        two.sync()
        assert two.read(read) == b"1"
    two.sync()
    assert two.read(read) == b"2"
    assert before.root["blob"].read() == b"1"
    before.sync()
    assert before.root["blob"].read() == b"2"


@pytest.mark.rule("SP5")
def test_an_abort_drops_what_was_written(open_mount: Open) -> None:
    mount = open_mount()
    space = Space(mount)
    space.run(put, b"1")
    staged: list[Path] = []

    def fails(root: Any) -> None:
        root["blob"].write_from(b"2")
        root["other"] = Blob(b"3")
        found = root["blob"]._staging(make=True).find(hashlib.sha256(b"2").digest())
        staged.append(found)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        space.run(fails)
    assert space.read(read) == b"1"
    assert not staged[0].exists()
    # What an exception interrupts is not written, though the transaction goes on.
    with space.transaction() as root:
        with pytest.raises(ZeroDivisionError), root["blob"].open("w") as file:
            file.write(b"half")
            raise ZeroDivisionError
        assert root["blob"].read() == b"1"


@pytest.mark.rule("SP5")
def test_a_savepoint_has_the_bytes_that_it_had(open_mount: Open) -> None:
    space = Space(open_mount())
    space.run(put, b"0")
    with space.transaction() as root:
        blob = root["blob"]
        blob.write_from(b"1")
        root["new"] = Blob(b"new")
        point = hubbub.savepoint()
        blob.write_from(b"2")
        root["new"].write_from(b"newer")
        later = hubbub.savepoint()
        blob.write_from(b"3")
        later.rollback()
        assert blob.read() == b"2"
        point.rollback()
        assert (blob.read(), root["new"].read()) == (b"1", b"new")
    assert space.read(read) == b"1"
    assert space.read(lambda root: root["new"].read()) == b"new"


@pytest.mark.rule("ST4")
def test_two_writers_of_one_blob_conflict(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())
    one.run(put, b"1")
    two.sync()
    with pytest.raises(ConflictError), one.transaction() as root:
        root["blob"].write_from(b"one")
        two.run(lambda root: root["blob"].write_from(b"two"))
    one.sync()
    assert one.read(read) == b"two"
    one.run(lambda root: root["blob"].write_from(b"again"))
    assert one.read(read) == b"again"


def test_the_same_bytes_may_be_in_many_blobs(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())

    def fill(root: Any) -> None:
        for name in "abc":
            root[name] = Blob(b"same")

    one.run(fill)
    two.sync()
    assert two.read(lambda root: [root[name].read() for name in "abc"]) == [b"same"] * 3
    two.run(lambda root: root["a"].write_from(b"same"))
    assert two.read(lambda root: [root[name].read() for name in "abc"]) == [b"same"] * 3


def test_a_blob_made_outside_is_stored_with_what_refers_to_it(open_mount: Open) -> None:
    space = Space(open_mount())
    blob = Blob(b"outside")
    assert blob.read() == b"outside"
    space.run(lambda root: root.__setitem__("blob", blob))
    assert space.read(read) == b"outside"
    connection = space.connect()
    connection.root["other"] = Blob(b"by hand")
    connection.root["blob"].write_from(b"in a connection")
    connection.commit()
    assert space.read(read) == b"in a connection"
    assert space.read(lambda root: root["other"].read()) == b"by hand"


def test_what_is_not_allowed(open_mount: Open) -> None:
    space = Space(open_mount())
    space.run(put)
    with pytest.raises(ReadOnlyError):
        space.read(lambda root: root["blob"].write_from(b"x"))
    blob = space.read(lambda root: root["blob"])
    with pytest.raises(NoTransactionError):
        blob.write_from(b"x")
    with pytest.raises(UnstorableError, match="close it before"), space.transaction() as root:
        root["blob"].open("w").write(b"x")
    with pytest.raises(AttributeError, match="keep what you know"):
        Blob().name = "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="no subclasses"):
        type("Own", (Blob,), {})
    with pytest.raises(ValueError, match="'r', 'w' or 'a'"):
        Blob().open("x")
    assert space.read(read) == b"first"


@pytest.mark.rule("ST7")
def test_an_undo_brings_the_bytes_back(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())
    one.run(put, b"1")
    one.run(lambda root: root["blob"].write_from(b"2"))
    second = one.tid
    one.undo(int(second))
    two.sync()
    assert two.read(read) == b"1"
    one.undo(int(one.tid))
    two.sync()
    assert two.read(read) == b"2"
    assert one.at(int(second) - 1).read(read) == b"1"


def test_bare_blobs_have_a_file_for_each_record(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oid = one.new_oid()
    staged = one.stage()
    staged.write_bytes(b"bare")
    record = Record(oid, 0, "t:T", (), b"x")
    tid, _ = one.commit(Changeset(0, [record], blobs={oid: staged.name}))
    two.sync()
    assert two.blob(oid, tid).read_bytes() == b"bare"
    assert one.blob(oid, tid).read_bytes() == b"bare"
    with one.open_blob(oid, tid) as file:
        assert file.read() == b"bare"
    for nothing in ((oid, tid - 1), (oid + 1, tid), (oid, tid + 1)):
        with pytest.raises(UnknownObjectError):
            two.blob(*nothing)
    dropped = one.stage()
    dropped.write_bytes(b"dropped")
    one.unstage(dropped.name)
    one.unstage(dropped.name)
    assert not dropped.exists()
    empty = one.stage()
    tid, _ = one.commit(Changeset(0, [Record(oid, tid, "t:T", (), b"x")], blobs={oid: empty.name}))
    two.sync()
    assert two.blob(oid, tid).read_bytes() == b""


def test_votes_have_blobs(open_mount: Open) -> None:
    one, two = open_mount(), open_mount()
    oids = [one.new_oid() for _ in range(3)]
    staged = [one.stage() for _ in oids]
    for path in staged:
        path.write_bytes(path.name.encode())
    ballots = [
        one.vote(Changeset(0, [Record(oid, 0, "t:T", (), b"x")], blobs={oid: path.name}))
        for oid, path in zip(oids, staged, strict=True)
    ]
    one.drop(ballots[1])
    tids = [one.finish(ballot)[0] for ballot in (ballots[0], ballots[2])]
    two.sync()
    assert two.blob(oids[0], tids[0]).read_bytes() == staged[0].name.encode()
    assert two.blob(oids[2], tids[1]).read_bytes() == staged[2].name.encode()


@pytest.mark.rule("ST6")
def test_damage_is_an_error_with_oid_and_tid(open_mount: Open) -> None:
    one, two = Space(open_mount()), open_mount()
    one.run(put, b"x" * 100_000)
    two.sync()
    blob = Space(two).connect().root["blob"]
    assert blob.size == 100_000
    oid = int.from_bytes(blob._p_oid, "big")
    tid = int.from_bytes(blob._p_serial or b"", "big")
    path = two.blob(oid, tid)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(50_000)
        file.write(b"y")
    with pytest.raises(CorruptRecordError) as raised:
        blob.read()
    assert (raised.value.oid, raised.value.tid) == (oid, tid)
    with path.open("ab") as file:
        file.truncate(99_999)
    with pytest.raises(CorruptRecordError):
        blob.read()


def pieces(count: int) -> Iterator[bytes]:
    piece = b"p" * (1 << 20)
    for _ in range(count):
        yield piece


def test_a_large_blob_goes_in_and_out_in_little_memory(open_mount: Open) -> None:
    one, two = Space(open_mount()), Space(open_mount())
    tracemalloc.start()
    try:
        one.run(lambda root: root.__setitem__("blob", Blob(pieces(100))))
        two.sync()

        def count(root: Any) -> int:
            with root["blob"].open() as file:
                return sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b""))

        assert two.read(count) == 100 << 20
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Both ends of the wire are in this process.
    assert peak < 64 << 20


def test_the_cache_of_files_is_bounded_and_keeps_what_is_in_use(
    open_mount: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_mount()
    if not isinstance(one, RemoteMount):
        assert not hasattr(one, "_blobs")  # the store's own files are read
        return
    monkeypatch.setattr("hubbub.mount.blobs._KEPT_S", 0.0)
    space = Space(one)

    def fill(root: Any) -> None:
        for number in range(6):
            root[str(number)] = Blob(b"%d" % number * 1000)

    space.run(fill)
    folder = tmp_path / "kept"
    two = open_mount(blob_dir=folder, blob_bytes=2500)
    assert isinstance(two, RemoteMount)
    root = Space(two).connect().root
    held = root["0"].open()
    first = held.read(10)
    for number in range(6):
        assert root[str(number)].read() == b"%d" % number * 1000
    assert two._blobs.byte_count <= 3000
    assert len(list(folder.glob("*.blob"))) <= 3
    # It is open, so it is there.
    oid, tid = (int.from_bytes(part, "big") for part in (root["0"]._p_oid, root["0"]._p_serial))
    asked = two.stats.requests
    assert two.blob(oid, tid).read_bytes() == b"0" * 1000
    assert two.stats.requests == asked
    assert first + held.read() == b"0" * 1000
    held.close()
    two.close()
    # A folder of one's own outlives the space, and what is staged does not.
    left = sorted(path.name for path in folder.iterdir())
    assert left
    assert all(name.endswith(".blob") for name in left)
    three = open_mount(blob_dir=folder)
    asked = three.stats.requests
    oid, tid = (int(part, 16) for part in left[0].removesuffix(".blob").split("-"))
    assert three.blob(oid, tid).exists()
    assert three.stats.requests == asked
