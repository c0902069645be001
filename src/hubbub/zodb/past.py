"""The transactions of a space as ZODB iterates over them, and the log of those that can be undone."""

from __future__ import annotations

import struct
from base64 import decodebytes, encodebytes
from collections.abc import Callable, Iterator
from typing import Any

import zope.interface
from ZODB import POSException
from ZODB.BaseStorage import DataRecord, TransactionRecord
from ZODB.interfaces import IStorageTransactionInformation
from ZODB.TimeStamp import TimeStamp

from hubbub.kernel import FeedGapError, oid_bytes, oid_from_bytes
from hubbub.mount import FeedEntry, Mount
from hubbub.zodb.failures import told_to_zodb
from hubbub.zodb.labels import NORMAL, meta_of
from hubbub.zodb.reading import extension_of

_FIRST_SPAN = 1 << 26  # a second
_HIGHEST = (1 << 63) - 1


def undo_id(tid: int) -> bytes:
    """Return the name under which a transaction can be undone: the same as of other storages."""
    return encodebytes(oid_bytes(tid)).rstrip()


def tid_of_undo_id(name: bytes) -> int:
    """Return the tid that `undo_id` named.

    Raises:
        UndoError: If it named none.
    """
    try:
        return oid_from_bytes(decodebytes(name + b"\n"))
    except (ValueError, struct.error) as error:
        raise POSException.UndoError(f"{name!r} names no transaction") from error


@zope.interface.implementer(IStorageTransactionInformation)
class StoredTransaction(TransactionRecord):
    """A transaction, with the records that are kept of it. Iterating over it reads them; it can be repeated."""

    def __init__(self, mount: Mount, entry: FeedEntry) -> None:
        meta = meta_of(entry.label)
        super().__init__(
            oid_bytes(entry.tid), meta.status, meta.user, meta.description, meta.extension
        )
        self._mount = mount
        self._number = entry.tid
        self._copied = meta.copied

    def __iter__(self) -> Iterator[DataRecord]:
        with told_to_zodb():
            records = self._mount.upkeep.records_of(self._number)
        for record in records:
            copied = self._copied.get(record.oid)
            yield DataRecord(
                oid_bytes(record.oid),
                self.tid,
                None if record.is_gone else record.payload,
                None if copied is None else oid_bytes(copied),
            )


def transactions(
    mount: Mount, start: bytes | None, stop: bytes | None
) -> Iterator[StoredTransaction]:
    """Yield the transactions from ``start`` to ``stop``, both included, as there are now."""
    first = 0 if start is None else oid_from_bytes(start)
    last = int(mount.begin())
    if stop is not None:
        last = min(last, oid_from_bytes(stop))
    return (StoredTransaction(mount, entry) for entry in _entries(mount, first, last))


def _entries(mount: Mount, first: int, last: int) -> Iterator[FeedEntry]:
    if first > last:
        return
    after = max(first - 1, 0)
    while after < last:
        with told_to_zodb():
            try:
                piece = mount.feed(after)
            except FeedGapError:
                piece = mount.feed(0)
        if not piece:
            return
        after = piece[-1].tid
        for entry in piece:
            if entry.tid > last:
                return
            if entry.tid >= first:
                yield entry


class UndoLog:
    """List what can be undone, newest first.

    Args:
        mount: Whose transactions.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def newest_first(self) -> Iterator[FeedEntry]:
        """Yield the commits that can be undone, newest first.

        The feed runs forwards only: spans of time that double are read, so that the first ones come at once.
        """
        with told_to_zodb():
            # What is not above it can't be undone.
            floor = self._mount.upkeep.identity().packed_tid
        high = int(self._mount.begin())
        span = _FIRST_SPAN
        while high > floor:
            low = max(high - span, floor)
            entries = list(_entries(self._mount, low + 1, high))
            yield from reversed(entries)
            high = low
            # What nobody has written in for long is skipped fast, and a busy time is read in small spans.
            if len(entries) < 256:
                span *= 4

    def described(
        self, first: int, last: int, accepts: Callable[[dict[str, Any]], object] | None
    ) -> list[dict[str, Any]]:
        """Return descriptions from number ``first`` up to ``last`` (or so many, if it is negative)."""
        end = first - last if last < 0 else last
        found: list[dict[str, Any]] = []
        number = 0
        for entry in self.newest_first():
            if number >= end:
                break
            meta = meta_of(entry.label)
            if meta.status != NORMAL:
                break
            described: dict[str, Any] = {
                "id": undo_id(entry.tid),
                "time": TimeStamp(oid_bytes(entry.tid)).timeTime(),
                "user_name": meta.user,
                "size": entry.byte_count,
                "description": meta.description,
            }
            described.update(extension_of(meta))
            if accepts is None or accepts(described):
                if number >= first:
                    found.append(described)
                number += 1
        return found

    def newest(self, count: int) -> list[tuple[bytes, list[bytes]]]:
        """Return (tid, oids) of the last ``count`` transactions, oldest first."""
        found: list[tuple[bytes, list[bytes]]] = []
        for entry in self.newest_first():
            if len(found) >= count:
                break
            found.append((oid_bytes(entry.tid), list(map(oid_bytes, entry.oids))))
        return found[::-1]
