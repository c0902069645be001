"""What `spec/files.md` says of the files of a space is what another program finds in them."""

import json
import os
import sqlite3
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

import hubbub


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "chat.hub"
    with hubbub.open(path) as space:
        space.declare_retention("30d")
        space.run(lambda root: root.update(song=hubbub.Blob(b"la la la")), note="a song")
        space.run(lambda root: root.update(room=hubbub.Map(topic="tea")))
        yield path  # once it is closed the group log is in the tables, and gone


def connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN")  # one moment, whatever the copying thread does
    return database


def groups(path: Path, mark: bytes) -> dict[int, list]:
    data, found = Path(f"{path}-log").read_bytes(), {}
    for at in range(0, len(data), 4096):
        if data[at : at + 4] == b"HuLg":
            crc, its_mark, number, after, length = struct.unpack_from("<I16sqqI", data, at + 4)
            assert its_mark == mark
            assert crc == crc32(data[at + 8 : at + 44 + length])
            found[number] = [after, msgspec.msgpack.decode(data[at + 44 : at + 44 + length])]
    return found


def test_the_group_log_and_the_tables_hold_the_same_rows(path: Path) -> None:
    database = connect(path)
    assert database.execute("PRAGMA application_id").fetchone() == (0x48756262,)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    meta = dict(database.execute("SELECT key, value FROM meta"))
    found = groups(path, meta["mark"])
    assert sorted(found) == list(range(min(found), max(found) + 1))
    records = database.execute("SELECT * FROM record").fetchall()
    transactions = database.execute('SELECT * FROM "transaction" ORDER BY tid').fetchall()
    rows = database.execute('SELECT kind, key, value, crc FROM "row"').fetchall()
    database.close()
    for number in sorted(found):
        after, (new_records, new_transactions, _) = found[number]
        if number > meta.get("groups", 0):
            assert after == (transactions[-1][0] if transactions else 0)
            records += map(tuple, new_records)
            transactions += map(tuple, new_transactions)
    assert records
    for _, oid, tid, name, refs, payload, crc in records:
        head = struct.pack("<qqII", oid, tid, len(name), len(refs))
        assert crc == crc32(head + name.encode() + refs + payload)
    for tid, previous, first, count, size, label, oids, crc in transactions:
        head = struct.pack("<qqqqqII", tid, previous, first, count, size, len(label), len(oids))
        assert crc == crc32(head + label + oids)
        assert count == len(oids) // 8
    assert all(one[0] == other[1] for one, other in pairwise(transactions))
    assert any(msgspec.msgpack.decode(each[5]).get("note") == "a song" for each in transactions)
    for kind, key, value, crc in rows:
        assert crc == crc32(kind.encode() + struct.pack("<I", len(key)) + key + value)


def test_blobs_and_the_side_file_are_where_the_page_says(path: Path) -> None:
    database = connect(path)
    meta = dict(database.execute("SELECT key, value FROM meta"))
    kept = [row for _, (_, body) in groups(path, meta["mark"]).items() for row in body[2]]
    kept += database.execute('SELECT kind, key, value FROM "row"').fetchall()
    database.close()
    rows = {(kind, key): value for kind, key, value in kept}
    assert msgspec.msgpack.decode(rows["space", b"keep"]) == 30 * 86400
    ((key, value),) = [(key, value) for (kind, key), value in rows.items() if kind == "blob"]
    oid, tid = struct.unpack(">qq", key)
    file = Path(f"{path}-blobs") / f"{oid >> 16:x}" / f"{oid >> 8 & 255:02x}"
    data = next(file.glob(f"{oid:016x}-{tid:016x}")).read_bytes()
    assert data == b"la la la"
    assert struct.unpack(">qI", value) == (len(data), crc32(data))
    newest, space_id, owner = Path(f"{path}-lock").read_text(encoding="ascii").split("\n")[:3]
    assert int(newest, 16) >= tid
    assert space_id == meta["space"]
    assert json.loads(owner)["pid"] == os.getpid()
