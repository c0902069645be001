"""A transaction for plain unit tests: objects as ordinary Python objects, without a hub or a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hubbub.perspective.notices import MindNotice, PublishNotice
from hubbub.space.context import Transaction, running


class _Nowhere:
    """Stands where a connection would: objects stay as they are, and their companions are kept beside them."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def add(self, obj: Any) -> int:
        self._seen[id(obj)] = obj
        return id(obj)

    def companion(self, obj: Any, cls: type) -> Any:
        return obj.__dict__.setdefault("_v_entries", cls())


class UnitTransaction:
    """What a unit test sees of the transaction in which its calls run."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @property
    def notices(self) -> list[Any]:
        """What was sent, in order: what would be released at the commit (PE3)."""
        return self._transaction.notices

    @property
    def published(self) -> list[tuple[str, Any]]:
        """Topic and item of each `hubbub.publish`, in order."""
        return [(n.topic, n.item) for n in self.notices if isinstance(n, PublishNotice)]

    @property
    def minds_called(self) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """Method and arguments of each call of users' minds, in order."""
        return [(n.method, n.args, n.kwargs) for n in self.notices if isinstance(n, MindNotice)]

    @property
    def now(self) -> float:
        """What `hubbub.now` gives; may be set."""
        return self._transaction.now

    @now.setter
    def now(self, seconds: float) -> None:
        self._transaction.now = seconds


@contextmanager
def transaction(now: float = 1_800_000_000.0, *, seed: int = 0) -> Iterator[UnitTransaction]:
    """Let the block run as if inside a command: `hubbub.publish`, `now`, `unique` and `random` work.

    Nothing is stored, and nothing is undone at the end.

    Args:
        now: What `hubbub.now` gives.
        seed: Of `hubbub.random` and `hubbub.unique`.
    """
    made = Transaction(_Nowhere(), now, seed=seed)  # type: ignore[arg-type]
    with running(made):
        yield UnitTransaction(made)
