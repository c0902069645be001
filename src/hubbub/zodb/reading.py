"""Read records as ZODB asks for them: before a tid, of a transaction, one after another, and their history."""

from __future__ import annotations

import pickle
from typing import Any

from ZODB import POSException
from ZODB.TimeStamp import TimeStamp

from hubbub.kernel import (
    HubbubError,
    PackedError,
    Record,
    SnapshotGoneError,
    UnknownObjectError,
    oid_bytes,
    oid_from_bytes,
)
from hubbub.mount import Mount
from hubbub.zodb.failures import told_to_zodb, translated
from hubbub.zodb.labels import Meta, meta_of

_HIGHEST = (1 << 63) - 1
_PAGE = 1000

Loaded = tuple[bytes, bytes, "bytes | None"]
"""A data record, the tid that wrote it, and the tid of its successor, if there is one."""


class Reader:
    """Read out of a mount.

    Args:
        mount: Whose records.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._since: tuple[int, int, frozenset[int] | None] = (0, 0, frozenset())
        self._page: dict[bytes, list[Record]] = {}

    def load_before(self, oid: bytes, tid: bytes) -> Loaded | None:
        """Return the record of ``oid`` as of before ``tid``; None if there was none yet.

        Raises:
            POSKeyError: There is no such object, or it was gone at that time.
        """
        number, at = oid_from_bytes(oid), oid_from_bytes(tid) - 1
        mount = self._mount
        try:
            newest = mount.begin()
            record = mount.load(number, min(at, newest)) if at >= 0 else None
        except (UnknownObjectError, PackedError):
            record = None
        except SnapshotGoneError:
            record = self._unchanged(oid, at)
            if record is None:
                return None  # ZODB begins the transaction anew
        except HubbubError as error:
            raise translated(error) from error
        if record is None:
            self._check_exists_later(oid, at)
            return None
        end = None if at >= newest else self._successor(number, record.tid, at)
        return record.payload, oid_bytes(record.tid), end

    def _unchanged(self, oid: bytes, at: int) -> Record | None:
        """Return the newest record if it is also the one as of ``at``, which is packed away; None if it is not.

        Raises:
            POSKeyError: There is no such object any more.
        """
        with told_to_zodb():
            record = self._mount.load(oid_from_bytes(oid), self._mount.begin())
        return record if record.tid <= at else None

    def _check_exists_later(self, oid: bytes, at: int) -> None:
        number, upkeep = oid_from_bytes(oid), self._mount.upkeep
        with told_to_zodb():
            is_gone = at >= 0 and upkeep.history(number, min(at, _HIGHEST) + 1, 1)
            if is_gone or upkeep.successor(number, max(at, 0)) is None:
                raise POSException.POSKeyError(oid)

    def _successor(self, oid: int, tid: int, at: int) -> bytes | None:
        """Return the tid of the record behind the one that was the right one as of ``at``."""
        newest = self._mount.begin()
        asked_at, asked_newest, changed = self._since
        if (asked_at, asked_newest) != (at, newest):
            newest, changed = self._mount.changed_since(at)
            self._since = (at, newest, changed)
        if changed is not None and oid not in changed:
            return None
        with told_to_zodb():
            found = self._mount.upkeep.successor(oid, tid)
        return None if found is None else oid_bytes(found)

    def current(self, oid: bytes) -> tuple[bytes, bytes]:
        """Return the newest record of ``oid`` and its tid.

        Raises:
            POSKeyError: There is none.
        """
        try:
            record = self._mount.load(oid_from_bytes(oid), self._mount.begin())
        except HubbubError as error:
            raise translated(error) from error
        return record.payload, oid_bytes(record.tid)

    def revision(self, oid: bytes, tid: bytes) -> bytes:
        """Return what transaction ``tid`` wrote of ``oid``.

        Raises:
            POSKeyError: It wrote none, or that it is gone.
        """
        number = oid_from_bytes(tid)
        if number > _HIGHEST:
            raise POSException.POSKeyError(oid, tid)
        with told_to_zodb():
            record = self._mount.upkeep.revision(oid_from_bytes(oid), number)
        if record.is_gone:
            raise POSException.POSKeyError(oid, tid)
        return record.payload

    def history(self, oid: bytes, size: int, accepts: Any = None) -> list[dict[str, Any]]:
        """Describe up to ``size`` revisions of ``oid``, newest first.

        Raises:
            POSKeyError: There is none.
        """
        number, upkeep = oid_from_bytes(oid), self._mount.upkeep
        found: list[dict[str, Any]] = []
        before: int | None = None
        with told_to_zodb():
            while len(found) < size:
                tids = upkeep.history(number, before, size - len(found))
                if not tids:
                    if before is None:
                        raise POSException.POSKeyError(oid)
                    break
                before = tids[-1]
                for tid in tids:
                    entry = upkeep.transaction(tid)
                    length = len(upkeep.revision(number, tid).payload)
                    meta = meta_of(entry.label) if entry is not None else None
                    described = _described(tid, meta, length)
                    described["tid"] = described["serial"] = oid_bytes(tid)
                    if accepts is None or accepts(described):
                        found.append(described)
        return found

    def record_next(self, oid: bytes | None) -> tuple[bytes, bytes, bytes, bytes | None]:
        """Return the first current record at or above ``oid``, and the oid of the one that follows, if there is one.

        Raises:
            ValueError: There is none at all.
        """
        page = self._page.pop(oid, None) if oid is not None else None
        if page is None or len(page) < 2:
            after = -1 if oid is None else oid_from_bytes(oid) - 1
            with told_to_zodb():
                page = self._mount.upkeep.current(after, self._mount.begin(), _PAGE)
                if len(page) == 1:
                    page += self._mount.upkeep.current(page[0].oid, self._mount.begin(), _PAGE)
        if not page:
            raise ValueError("there are no records")
        record, rest = page[0], page[1:]
        following = oid_bytes(rest[0].oid) if rest else None
        if following is not None:
            self._page = {following: rest}
        return oid_bytes(record.oid), oid_bytes(record.tid), record.payload, following


def _described(tid: int, meta: Meta | None, size: int) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if meta is not None and meta.extension:
        described.update(extension_of(meta))
    described["time"] = TimeStamp(oid_bytes(tid)).timeTime()
    described["user_name"] = b"" if meta is None else meta.user
    described["description"] = b"" if meta is None else meta.description
    described["size"] = size
    return described


def extension_of(meta: Meta) -> dict[str, Any]:
    """Return a transaction's extension, as ZODB's own storages do: it was pickled by an application, and is trusted."""
    if not meta.extension:
        return {}
    extension: dict[str, Any] = pickle.loads(meta.extension)  # noqa: S301 - see above
    return extension
