"""A record: one object's state at one tid; and a commit: the records of one transaction.

These two travel through every room between the disk and the objects, so they stand here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from hubbub.kernel.identifiers import Tid

RecordFields = tuple[int, int, str, tuple[int, ...], bytes]
"""How a record is written on a wire: oid, tid, class name, oids it refers to, payload."""


class Record(msgspec.Struct, array_like=True, gc=False, eq=False):
    """One object's state at one tid. Also how it is decoded from a wire, without a detour; `fields` is its way back.

    Attributes:
        oid: Which object.
        tid: Which transaction wrote it; in a changeset that is not committed yet, the tid that its writer had
            read (0 for a new object).
        class_name: ``module:qualified.name`` of its class; empty in a record that says that the object is gone as of
            its tid, because what made it was undone or it was collected. Loading that one is an `UnknownObjectError`.
        refs: The oids that the payload refers to, each once, in order of appearance.
        payload: The state in the value codec's bytes (see `hubbub.space.codec`).
        memo: The decoded state when it may be shared by all connections, else None. Never stored, never sent.
    """

    oid: int
    tid: int
    class_name: str
    refs: tuple[int, ...]
    payload: bytes
    if TYPE_CHECKING:
        memo: Any = None
    else:
        memo: None = None  # so a decoder takes no other one from a wire

    def fields(self) -> RecordFields:
        """Return the record as it is written on a wire."""
        return (self.oid, self.tid, self.class_name, self.refs, self.payload)

    @property
    def is_gone(self) -> bool:
        """Whether it says that there is no such object as of its tid."""
        return not self.class_name

    @property
    def is_opaque(self) -> bool:
        """Whether nothing is known of what it refers to: its class is called ``?``."""
        return self.class_name.endswith(":?")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash((self.oid, self.tid))

    def __repr__(self) -> str:
        return f"<Record {self.oid:#x} @{self.tid:016x} {self.class_name} {len(self.payload)} B>"


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did it and what it was: kept with each commit, shown by ``hubbub tail``.

    Attributes:
        identity: The id that a checker vouched for, such as ``password:ann``; empty for the host itself.
        avatar: Class name of the avatar that ran the command.
        command: Name of the command, or what else made the commit (``peer``, ``setup``, ``connected``).
        args: The command's arguments as MessagePack, empty when the command says ``record=False``.
        note: Free text.
        extra: More, as a MessagePack mapping of str to plain values; empty for none.
    """

    identity: str = ""
    avatar: str = ""
    command: str = ""
    args: bytes = b""
    note: str = ""
    extra: bytes = b""

    def more(self) -> dict[str, Any]:
        """Return ``extra``, decoded; nothing if somebody else wrote what is no such mapping."""
        if not self.extra:
            return {}
        try:
            return msgspec.msgpack.decode(self.extra, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}


Row = tuple[str, bytes, bytes | None]
"""A small keyed entry stored in the same commit, beside the objects: (kind, key, value); None deletes it."""


NO_BLOBS: Mapping[int, str] = {}


class Commit:
    """What one transaction stores, and what waits for it to be durable.

    Attributes:
        tid: Its transaction id.
        label: Who and what.
        records: Durable records; each carries ``tid``.
        rows: Keyed rows to put or delete (sessions, call results, jobs).
        ephemerals: Records of ephemeral objects; kept in the host's memory only.
        blobs: Blob files by the oid of their record: names under which the store has them staged (`Store.stage`).
        changes: Keyed changes of containers by oid (LV3): key -> value, or `DELETED`; None when unknown.
        notices: What the transaction sends, in order; opaque to the store; released after durability (PE3).
        context: Whatever its submitter wants back when the commit is settled; opaque.
        began: When its transaction began to run, by `time.perf_counter`; 0 where nobody measures.
    """

    __slots__ = (
        "began",
        "blobs",
        "changes",
        "context",
        "ephemerals",
        "label",
        "notices",
        "records",
        "rows",
        "tid",
    )

    def __init__(
        self,
        tid: Tid,
        label: Label,
        records: Sequence[Record] = (),
        rows: Sequence[Row] = (),
        ephemerals: Sequence[Record] = (),
        changes: dict[int, Any] | None = None,
        notices: Sequence[Any] = (),
        context: Any = None,
        blobs: Mapping[int, str] = NO_BLOBS,
    ) -> None:
        self.tid = tid
        self.label = label
        self.records = records
        self.rows = rows
        self.ephemerals = ephemerals
        self.changes = changes or {}
        self.notices = notices
        self.context = context
        self.blobs = blobs
        self.began = 0.0

    @property
    def is_durable(self) -> bool:
        """Whether anything in it has to reach the disk."""
        return bool(self.records or self.rows)

    @property
    def byte_count(self) -> int:
        """Bytes of payload that it stores."""
        return sum(len(record.payload) for record in self.records)

    def __repr__(self) -> str:
        return f"<Commit {self.tid:016x} {self.label.command or '-'} {len(self.records)} records>"


class Changeset(msgspec.Struct):
    """What an optimistic transaction asks to commit (a peer's, or an embedded space's).

    Attributes:
        base: The snapshot that it read from.
        writes: New states; each record's ``tid`` is the one its writer had read, 0 for a new object.
        current: (oid, tid) of objects that must not have changed, though they are not written (readCurrent).
        changes: Keyed changes of containers by oid, as in `Commit`.
        label: Who and what.
        key: Names this attempt once and for all, so that a repeat after a lost answer is not a second commit;
            empty when it can't be repeated.
        blobs: As in `Commit`.
        restored_tid: Not 0: it is the copy of a commit that was made elsewhere. It gets this tid, which must be above
            all others, and is stored as it is, whatever its writes say that they have read.
    """

    base: int
    writes: list[Any]
    current: list[tuple[int, int]] = []
    changes: dict[int, Any] = {}
    label: Label = Label()
    key: bytes = b""
    blobs: dict[int, str] = {}
    restored_tid: int = 0
