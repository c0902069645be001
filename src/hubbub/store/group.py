"""A group of commits as what is stored of it: rows of the tables, with their checksums.

The group log (`hubbub.store.grouplog`) and the tables (`hubbub.store.tables`) hold the same rows, so what has been
accepted by the one can't be refused by the other: a value of a wrong type is found here, before anything is written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from zlib import crc32

import msgspec

from hubbub.kernel import Commit, Label, LocalProtocolError, Record, tid_text

RecordRow = tuple[int, int, int, str, bytes, bytes, int]
"""Place, oid, tid, class name, packed refs, payload, checksum."""

TransactionRow = tuple[int, int, int, int, int, bytes, bytes, int]
"""Tid, the tid before, place of the first record, how many, payload bytes, label, packed oids, checksum."""

KeyedRow = tuple[str, bytes, bytes | None]
"""Kind, key, value; None deletes it."""

Body = tuple[list[RecordRow], list[TransactionRow], list[KeyedRow]]
"""The rows of one group."""

_record_head = struct.Struct("<qqII").pack
_transaction_head = struct.Struct("<qqqqqII").pack
_row_head = struct.Struct("<I").pack
_encode_label = msgspec.msgpack.Encoder().encode
_decode_label = msgspec.msgpack.Decoder(Label).decode
_packers = [struct.Struct(f"<{count}q").pack for count in range(64)]
_unpackers = [struct.Struct(f"<{count}q").unpack for count in range(64)]


def pack_oids(oids: Sequence[int]) -> bytes:
    """Return ``oids`` as 8 little-endian bytes each."""
    count = len(oids)
    return _packers[count](*oids) if count < 64 else struct.pack(f"<{count}q", *oids)


def unpack_oids(data: bytes) -> tuple[int, ...]:
    """Return what `pack_oids` packed.

    Raises:
        struct.error: If that is not a whole number of oids.
    """
    count = len(data) // 8
    return _unpackers[count](data) if count < 64 else struct.unpack(f"<{count}q", data)


def decode_label(data: bytes) -> Label:
    """Return the label that a transaction's row holds."""
    return _decode_label(data)


def record_crc(oid: int, tid: int, name: bytes, refs: bytes, payload: bytes) -> int:
    """Return the checksum of a record."""
    head = _record_head(oid, tid, len(name), len(refs))
    return crc32(payload, crc32(b"".join((head, name, refs))))


def transaction_crc(
    tid: int, previous: int, first: int, count: int, byte_count: int, label: bytes, oids: bytes
) -> int:
    """Return the checksum of a transaction."""
    head = _transaction_head(tid, previous, first, count, byte_count, len(label), len(oids))
    return crc32(b"".join((head, label, oids)))


def row_crc(kind: str, key: bytes, value: bytes) -> int:
    """Return the checksum of a keyed row."""
    return crc32(value, crc32(b"".join((kind.encode(), _row_head(len(key)), key))))


class Group:
    """What is stored of a group of commits.

    Args:
        commits: In tid order.
        last_tid: The newest stored tid before it.
        next_id: The place of its first record.

    Attributes:
        records, transactions, rows: Rows of the three tables; `rows` in the order in which they are to be applied.
        newest: The records themselves.
        last_tid, next_id: As they are behind the group.
        max_oid: Its highest oid; 0 without records.
        has_blobs: Whether a commit names blob files.
    """

    __slots__ = (
        "has_blobs",
        "last_tid",
        "max_oid",
        "newest",
        "next_id",
        "records",
        "rows",
        "transactions",
    )

    def __init__(self, commits: Sequence[Commit], last_tid: int, next_id: int) -> None:
        self.records: list[RecordRow] = []
        self.transactions: list[TransactionRow] = []
        self.rows: list[KeyedRow] = []
        self.newest: list[Record] = []
        self.last_tid = last_tid
        self.next_id = next_id
        self.max_oid = 0
        self.has_blobs = False
        for commit in commits:
            if commit.rows:
                self._add_rows(commit)
            if commit.blobs:
                self.has_blobs = True
            if commit.records:
                self._add(commit)

    @classmethod
    def stored(cls, body: Body, last_tid: int, next_id: int) -> Group:
        """Return the group that was stored as the rows ``body``."""
        self = cls((), last_tid, next_id)
        self.records, self.transactions, self.rows = body
        for _, oid, tid, name, refs, payload, _ in self.records:
            self.newest.append(Record(oid, tid, name, unpack_oids(refs), payload))
        if self.transactions:
            self.last_tid = self.transactions[-1][0]
            self.next_id = self.records[-1][0] + 1
            self.max_oid = max(record.oid for record in self.newest)
        return self

    def _add_rows(self, commit: Commit) -> None:
        for kind, key, value in commit.rows:
            # The tables take almost anything; what comes back would be something else.
            if (
                type(kind) is not str
                or type(key) is not bytes
                or (value is not None and type(value) is not bytes)
            ):
                raise TypeError(f"a row is str, bytes and bytes or None, not {kind!r}, {key!r}")
            self.rows.append((kind, key, value))

    def _add(self, commit: Commit) -> None:
        """Add what a commit with records stores.

        Raises:
            LocalProtocolError: If it is not newer than the one before it, if a record carries another tid, or if an
                object occurs twice.
        """
        tid = commit.tid
        if tid <= self.last_tid:
            raise LocalProtocolError(
                f"commit {tid_text(tid)} can't be stored behind {tid_text(self.last_tid)}"
            )
        first = place = self.next_id
        byte_count = 0
        add = self.records.append
        oids = []
        for record in commit.records:
            oid, name, payload = record.oid, record.class_name, record.payload
            if record.tid != tid:
                raise LocalProtocolError(f"commit {tid_text(tid)} holds a record of another tid")
            refs = pack_oids(record.refs)
            crc = record_crc(oid, tid, name.encode(), refs, payload)
            add((place, oid, tid, name, refs, payload, crc))
            place += 1
            byte_count += len(payload)
            oids.append(oid)
        count = len(oids)
        if count > 1 and len(set(oids)) < count:
            raise LocalProtocolError(f"commit {tid_text(tid)} holds an object twice")
        label, packed = _encode_label(commit.label), pack_oids(oids)
        crc = transaction_crc(tid, self.last_tid, first, count, byte_count, label, packed)
        self.transactions.append((tid, self.last_tid, first, count, byte_count, label, packed, crc))
        self.newest.extend(commit.records)
        self.last_tid = tid
        self.next_id = place
        highest = max(oids)
        if highest > self.max_oid:
            self.max_oid = highest
