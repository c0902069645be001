"""The questions of `hubbub.store.upkeep.Upkeep` over the peer wire: the table of their types, and the side that asks.

The table is read off the protocol's own annotations. Both sides check what comes against it, so a question that makes
no sense, or an answer of another shape, is an error that names the method, and nothing else.
"""

from __future__ import annotations

import collections.abc
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from types import UnionType
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

import msgspec

from hubbub.kernel import Job, LimitError, Record, RemoteProtocolError, SnapshotGoneError, Tid
from hubbub.store.base import Damage, FeedEntry, PackReport, StoredCommit, StoreStats
from hubbub.store.upkeep import COMMIT_BYTES, RowsPiece, SpaceIdentity, Upkeep
from hubbub.wire import peer

MOST_ASKED = 8
"""So many questions of one peer are worked on at a time; its side of the wire holds the others back."""

_ATTEMPTS = 20
MOST_LOADED = 10_000
"""So many objects are loaded by one question."""

_MOST = {"most": 100_000, "most_bytes": 4 * COMMIT_BYTES}
_LOWEST, _HIGHEST = -1, (1 << 63) - 1

_READING = frozenset(
    {
        "commits",
        "current",
        "history",
        "identity",
        "load_many",
        "records_of",
        "retention",
        "revision",
        "stats",
        "successor",
        "transaction",
        "verify",
    }
)
"""What whoever may only read may ask. Keyed rows are not among it: they hold what sessions are resumed with."""


class Question:
    """One method that can be asked for.

    Attributes:
        name: Of the method.
        is_reading: Who may only read may ask it.
        is_job: It tells how far it is, and can be stopped.
        is_long: It may take long.
        returns_many: It yields its answer; a list crosses.
    """

    def __init__(self, name: str, method: Callable[..., Any]) -> None:
        hints = get_type_hints(method)
        parameters = list(inspect.signature(method).parameters.values())[1:]
        self.name = name
        self.is_reading = name in _READING
        self.is_job = any(_is_job(hints[parameter.name]) for parameter in parameters)
        self.is_long = self.is_job or name == "stats"
        self._parameters = [p for p in parameters if not _is_job(hints[p.name])]
        kinds = tuple(hints[parameter.name] for parameter in self._parameters)
        self._args: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(tuple[kinds])  # type: ignore[valid-type]
        returned = hints["return"]
        self.returns_many = get_origin(returned) is collections.abc.Iterator
        if self.returns_many:
            (item,) = get_args(returned)
            returned = list[item]  # type: ignore[valid-type]
        self._returned: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(returned)

    def pack_args(self, args: Sequence[Any]) -> msgspec.Raw:
        """Return ``args``, all in order but the job, as a message has them."""
        return msgspec.Raw(_encoder.encode(list(args)))

    def args(self, packed: msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments in ``packed``: those that go by place, and those that go by name.

        Raises:
            RemoteProtocolError: If they don't fit.
            LimitError: They name too many objects.
        """
        given = [
            _bounded(parameter.name, value)
            for parameter, value in zip(
                self._parameters, self._decode(self._args, packed, "arguments"), strict=True
            )
        ]
        placed = [p.kind is not inspect.Parameter.KEYWORD_ONLY for p in self._parameters]
        by_name = {
            parameter.name: value
            for parameter, value, by_place in zip(self._parameters, given, placed, strict=True)
            if not by_place
        }
        return tuple(
            value for value, by_place in zip(given, placed, strict=True) if by_place
        ), by_name

    def pack_answer(self, value: Any) -> msgspec.Raw:
        """Return what the method returned as a message has it."""
        return msgspec.Raw(_encoder.encode(_plain(list(value) if self.returns_many else value)))

    def answer(self, packed: msgspec.Raw) -> Any:
        """Return what the method returned.

        Raises:
            RemoteProtocolError: If that does not fit.
        """
        return self._decode(self._returned, packed, "answer")

    def _decode(self, decoder: msgspec.msgpack.Decoder[Any], packed: msgspec.Raw, what: str) -> Any:
        try:
            return decoder.decode(packed)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteProtocolError(
                f"{what} of {self.name} that do not fit: {error}", code="garbled"
            ) from None


_encoder = msgspec.msgpack.Encoder()


def _bounded(name: str, value: Any) -> Any:
    """Return an argument as it may reach the store: a peer can't ask for more than the host has memory for."""
    if name in _MOST:
        return max(0, min(value, _MOST[name]))
    if name == "oids":
        if len(value) > MOST_LOADED:
            raise LimitError(f"more than {MOST_LOADED} objects at a time: ask for less")
        return [_in_range(oid) for oid in dict.fromkeys(value)]
    return _in_range(value) if type(value) is int else value


def _in_range(number: int) -> int:
    """Return ``number`` if an oid or tid can have it, else the nearest one, which names nothing."""
    return max(_LOWEST, min(number, _HIGHEST))


def _is_job(hint: Any) -> bool:
    return hint is Job or (get_origin(hint) in (Union, UnionType) and Job in get_args(hint))


def _plain(value: Any) -> Any:
    """Leave the memos of records out."""
    if isinstance(value, Record):
        return value.fields()
    if isinstance(value, list) and value and isinstance(value[0], Record):
        return peer.written(value)
    if isinstance(value, list) and value and isinstance(value[0], StoredCommit):
        return [
            msgspec.structs.replace(
                commit, records=[Record(*record.fields()) for record in commit.records]
            )
            for commit in value
        ]
    return value


QUESTIONS = {
    name: Question(name, method)
    for name, method in vars(Upkeep).items()
    if inspect.isfunction(method) and not name.startswith("_")
}
"""Each method of `Upkeep` by its name."""


class AsksJob(Protocol):
    """Asks for a long job, and tells how far it is meanwhile."""

    def __call__(self, message: peer.Ask, job: Job, /) -> Any:
        """Return the answer to ``message``."""
        ...


class RemoteUpkeep:
    """Ask a host (an `Upkeep`).

    Args:
        ask: Sends a message as often as it takes, and returns its answer.
        ask_job: As `AsksJob`.
    """

    def __init__(self, ask: Callable[[Any], Any], ask_job: AsksJob) -> None:
        self._ask = ask
        self._ask_job = ask_job
        self._slots = threading.BoundedSemaphore(MOST_ASKED)

    def history(self, oid: int, before: int | None = None, most: int = 100) -> list[Tid]:
        found: list[Tid] = self._asked("history", oid, before, most)
        return found

    def revision(self, oid: int, tid: int) -> Record:
        found: Record = self._asked("revision", oid, tid)
        return found

    def successor(self, oid: int, tid: int) -> Tid | None:
        found: Tid | None = self._asked("successor", oid, tid)
        return found

    def transaction(self, tid: int) -> FeedEntry | None:
        found: FeedEntry | None = self._asked("transaction", tid)
        return found

    def records_of(self, tid: int) -> list[Record]:
        found: list[Record] = self._asked("records_of", tid)
        return found

    def current(self, after_oid: int, at: int, most: int = 1000) -> list[Record]:
        while True:
            try:
                found: list[Record] = self._asked("current", after_oid, at, most)
                return found
            except LimitError:
                # Too large for one message: fewer may come at any time.
                if most <= 1:
                    raise
                most //= 4

    def load_many(self, oids: Sequence[int], at: int) -> list[Record]:
        try:
            found: list[Record] = self._asked("load_many", oids, at)
            return found
        except LimitError:
            if len(oids) <= 1:
                raise
        half = len(oids) // 2
        return self.load_many(oids[:half], at) + self.load_many(oids[half:], at)

    def identity(self) -> SpaceIdentity:
        found: SpaceIdentity = self._asked("identity")
        return found

    def commits(self, after: int, end: int, most_bytes: int = COMMIT_BYTES) -> list[StoredCommit]:
        while True:
            try:
                found: list[StoredCommit] = self._asked("commits", after, end, most_bytes)
                return found
            except LimitError:
                if most_bytes <= 1:
                    raise
                most_bytes //= 4

    def all_rows(self) -> tuple[Tid, list[tuple[str, bytes, bytes]]]:
        most_bytes = COMMIT_BYTES
        for _ in range(_ATTEMPTS):
            try:
                first = self.rows_from(0, 0, most_bytes)
                rows = list(first.rows)
                while len(rows) < first.count:
                    rows += self.rows_from(first.number, len(rows), most_bytes).rows
                return first.tid, rows
            except LimitError:
                if most_bytes <= 1:
                    raise
                most_bytes //= 4
            except SnapshotGoneError:
                continue  # others ask for them, too; or it is another host now
        raise SnapshotGoneError(
            "the rows of this space are asked for by too many at a time: try again"
        )

    def rows_from(self, number: int, skip: int, most_bytes: int = COMMIT_BYTES) -> RowsPiece:
        found: RowsPiece = self._asked("rows_from", number, skip, most_bytes)
        return found

    def stats(self) -> StoreStats:
        found: StoreStats = self._asked("stats")
        return found

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        found: list[Damage] = self._asked_job("verify", job)
        return iter(found)

    def retention(self) -> float | None:
        found: float | None = self._asked("retention")
        return found

    def declare_retention(self, seconds: float | None) -> None:
        self._asked("declare_retention", seconds)

    def pack(
        self,
        before: int | None = None,
        *,
        collect: bool = True,
        force: bool = False,
        job: Job | None = None,
    ) -> PackReport:
        report: PackReport = self._asked_job("pack", job, before, collect, force)
        return report

    def _asked(self, name: str, *args: Any) -> Any:
        question = QUESTIONS[name]
        with self._slots:
            answer: peer.Answer = self._ask(peer.Ask(0, name, question.pack_args(args)))
        return question.answer(answer.value)

    def _asked_job(self, name: str, job: Job | None, *args: Any) -> Any:
        question = QUESTIONS[name]
        message = peer.Ask(0, name, question.pack_args(args))
        answer: peer.Answer = self._ask_job(message, job if job is not None else Job())
        return question.answer(answer.value)
