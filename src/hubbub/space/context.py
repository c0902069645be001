"""The transaction that runs now: its time, its keys, its chance, and what it wants to send.

The present transaction is in a context variable, so `now()`, `unique()` and the like need no argument.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from hubbub.kernel import Label, NoTransactionError, Row, Tid, UnstorableError, tid_at
from hubbub.space.savepoints import Savepoint

if TYPE_CHECKING:
    from hubbub.space.connection import Connection

_current: ContextVar[Transaction | None] = ContextVar("hubbub_transaction", default=None)
_unique_salt = _random.SystemRandom()


class Transaction:
    """One attempt to run a transaction's body.

    Attributes:
        now: The transaction's time (Unix time, seconds); the same in a rerun.
        connection: Where its objects live.
        label: Who and what; kept with the commit.
        notices: What it sends, in order; released when the commit is durable, dropped when it aborts (PE3).
        rows: Keyed rows to store in the same commit.
        record_rows: Keyed rows to store only if records are stored too: they don't cost an fsync by themselves.
        session: The user's session on whose behalf it runs, if any (opaque here).
        read_only: Whether it is a query.
        dev: Whether what blocks in it is an error (see `hubbub.space.dev`).
        tid: In the host, the tid that it will have, or that the answer is for; else 0.
    """

    __slots__ = (
        "_count",
        "_random",
        "_seed",
        "connection",
        "dev",
        "label",
        "notices",
        "now",
        "read_only",
        "record_rows",
        "rows",
        "session",
        "tid",
    )

    def __init__(
        self,
        connection: Connection,
        now: float,
        *,
        label: Label | None = None,
        session: Any = None,
        read_only: bool = False,
        seed: int | None = None,
        tid: int = 0,
        dev: bool = False,
    ) -> None:
        self.connection = connection
        self.tid = tid
        self.dev = dev
        self.now = now
        self.label = label or Label()
        self.notices: list[Any] = []
        self.rows: list[Row] = []
        self.record_rows: list[Row] = []
        self.session = session
        self.read_only = read_only
        self._seed = seed
        self._count = 0
        self._random: _random.Random | None = None

    @property
    def seed(self) -> int:
        """What its chance begins from; a rerun gets the same. Drawn when asked for: it costs a system call."""
        if self._seed is None:
            self._seed = _unique_salt.getrandbits(64)
        return self._seed

    def random(self) -> _random.Random:
        """Return a source of chance that repeats itself when the body is run again with the same seed."""
        if self._random is None:
            self._random = _random.Random(self.seed)
        return self._random

    def savepoint(self) -> Savepoint:
        """As the function `savepoint`, of this transaction."""
        return Savepoint(self)

    def annotate(
        self,
        note: str | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Say more in the label; what is None or empty stays as it is."""
        self.label = annotated(self.label, note, user, extra)

    def unique(self) -> str:
        """Return a key that sorts by time and that nobody else makes."""
        self._count += 1
        # As good as `random`, whose source takes five times as long to make.
        chance = blake2b(b"%x %x" % (self.seed, self._count), digest_size=6).hexdigest()
        return f"{tid_at(self.now):016x}{self._count:04x}{chance}"


@contextmanager
def running(transaction: Transaction) -> Iterator[Transaction]:
    """Make ``transaction`` the present one in the block."""
    token = enter(transaction)
    try:
        yield transaction
    finally:
        leave(token)


enter = _current.set
"""Make a transaction the present one until `leave` gets what this returns: `running` without its cost."""

leave = _current.reset
"""End what `enter` began."""


current = _current.get
"""Return the present transaction, or None outside of one."""


def required(what: str) -> Transaction:
    """Return the present transaction.

    Raises:
        NoTransactionError: Outside of one; ``what`` says what needed it.
    """
    transaction = _current.get()
    if transaction is None:
        raise NoTransactionError(
            f"{what} needs a transaction: call it in a command, or in hub.run(...) or space.run(...)"
        )
    return transaction


def now() -> float:
    """Return the transaction's time, in seconds since 1970; outside a transaction the machine's.

    In a query it is the time of the tid that the answer is for (LV1).
    """
    transaction = _current.get()
    return time.time() if transaction is None else transaction.now


def unique() -> str:
    """Return a new key, 32 hexadecimal digits, that sorts by time and ties break by chance.

    For keys of sorted containers to which many add at once: `now()` alone would overwrite within one transaction.
    """
    transaction = _current.get()
    if transaction is not None:
        return transaction.unique()
    return f"{tid_at(time.time()):016x}0000{_unique_salt.getrandbits(48):012x}"


def tid() -> Tid:
    """Return the tid that the running command will have, to `undo` it later.

    Raises:
        NoTransactionError: Not in a command: a peer's transaction gets its tid when it is committed.
    """
    transaction = _current.get()
    if transaction is None or not transaction.tid or transaction.read_only:
        raise NoTransactionError(
            "only a command knows its tid beforehand; a peer finds it in space.transactions()"
        )
    return Tid(transaction.tid)


def savepoint() -> Savepoint:
    """Return a state of the running transaction to which its ``rollback`` returns, as often as is wanted.

    Example: ``with hubbub.savepoint(): risky()`` goes back if ``risky`` raises.

    What has changed so far need not stay in memory any more: set one now and then in a huge transaction.

    Raises:
        NoTransactionError: Outside a transaction.
        ReadOnlyError: In a query or view.
        UnstorableError: If something that has changed can't be stored.
    """
    return required("hubbub.savepoint()").savepoint()


def note(text: str) -> None:
    """Say what the running transaction is about, in a few words: shown in the history, the feed and ``hubbub tail``.

    Raises:
        NoTransactionError: Outside a transaction.
        UnstorableError: If it is longer than `LABEL_BYTES`.
    """
    required("hubbub.note()").annotate(text)


def annotate(**extra: Any) -> None:
    """Keep more with the running transaction: plain values by name, shown where its label is.

    Raises:
        NoTransactionError: Outside a transaction.
        UnstorableError: If one is no plain value, or all together are larger than `LABEL_BYTES`.
    """
    required("hubbub.annotate()").annotate(extra=extra)


LABEL_BYTES = 65_535
"""So long the note, and the extra values, of a transaction may be."""


def annotated(
    label: Label,
    note: str | None = None,
    user: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Label:
    """Return ``label`` with a note, the id of a user, and more extra values; what is None or empty stays as it is.

    Raises:
        UnstorableError: See `annotate`.
    """
    if note is not None:
        if len(note.encode("utf-8", "replace")) > LABEL_BYTES:
            raise UnstorableError("note", f"is longer than {LABEL_BYTES} bytes")
        label = msgspec.structs.replace(label, note=note)
    if user is not None:
        label = msgspec.structs.replace(label, identity=user)
    if not extra:
        return label
    try:
        packed = msgspec.msgpack.encode({**label.more(), **extra})
        msgspec.msgpack.decode(packed)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise UnstorableError("extra", f"takes plain values by name: {error}") from None
    if len(packed) > LABEL_BYTES:
        raise UnstorableError("extra", f"is larger than {LABEL_BYTES} bytes")
    return msgspec.structs.replace(label, extra=packed)


def random() -> _random.Random:
    """Return the transaction's source of chance, which repeats itself in a rerun of the body."""
    transaction = _current.get()
    return _random.Random() if transaction is None else transaction.random()
