"""A space in a dict, with connections whose transactions may overlap: what containers and merges are tested with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hubbub.kernel import Record, UnknownObjectError
from hubbub.space.connection import Connection
from hubbub.space.containers import merge_records
from hubbub.space.context import Transaction, running

T = TypeVar("T")


class Conflict(Exception):  # noqa: N818 - of this small world
    pass


class SmallSpace:
    def __init__(self) -> None:
        self.records: dict[int, list[Record]] = {}
        self.tid = 0
        self.next_oid = 1
        self.now = 1000.0
        self.written = 0  # bytes of payload
        self.merges = 0

    def load(self, oid: int, at: int) -> Record:
        for record in reversed(self.records.get(oid, ())):
            if record.tid <= at:
                return record
        raise UnknownObjectError(oid)

    def newest(self, oid: int) -> Record | None:
        history = self.records.get(oid)
        return history[-1] if history else None

    def connect(self) -> Client:
        return Client(self)

    def do(self, body: Callable[[Any], T]) -> T:
        """Run ``body(root)`` as one transaction in a connection of its own."""
        client = self.connect()
        value = client.run(body)
        client.commit()
        return value


class Client:
    """One connection, in one transaction from `begin` to `commit` or `abort`."""

    def __init__(self, space: SmallSpace) -> None:
        self.space = space
        self.at = space.tid
        self.loads = 0
        self.connection = Connection(self)
        self.changes: dict[int, Any] = {}
        self.begin()

    @property
    def root(self) -> Any:
        return self.connection.root

    def load(self, oid: int) -> Record:
        self.loads += 1
        return self.space.load(oid, self.at)

    def new_oid(self) -> int:
        self.space.next_oid += 1
        return self.space.next_oid

    def begin(self) -> None:
        self.at = self.space.tid
        self.connection.invalidate_all()
        self.transaction = Transaction(self.connection, self.space.now)

    def run(self, body: Callable[[Any], T]) -> T:
        """Run ``body(root)`` in the transaction, which goes on."""
        with running(self.transaction):
            return body(self.root)

    def commit(self) -> int:
        """Commit; return the bytes of payload that it wrote. Raises `Conflict`; nothing has changed then."""
        space = self.space
        try:
            with running(self.transaction):
                prepared = self.connection.prepare()
            for oid, tid in prepared.current:
                newest = space.newest(oid)
                if newest is None or newest.tid != tid:
                    raise Conflict(f"{oid} was relied on unchanged")
            records, merged = [], []
            for record in prepared.records:
                newest = space.newest(record.oid)
                if (newest.tid if newest else 0) != record.tid:
                    if newest is None or not record.tid:
                        raise Conflict("made by both")
                    old = space.load(record.oid, record.tid)
                    outcome = merge_records(old, newest, record)
                    if isinstance(outcome, str):
                        raise Conflict(outcome)
                    payload, refs = outcome
                    record = Record(record.oid, 0, record.class_name, refs, payload)
                    merged.append(record.oid)
                records.append(record)
        except BaseException:
            self.abort()
            raise
        if records:
            space.tid += 1
        for record in records:
            record.tid = space.tid
            space.records.setdefault(record.oid, []).append(record)
        space.merges += len(merged)
        self.changes = prepared.changes
        self.connection.committed(space.tid, merged)
        self.begin()
        written = sum(len(record.payload) for record in records)
        space.written += written
        return written

    def abort(self) -> None:
        self.connection.abort()
        self.begin()
