"""Transactions and reads in a mounted space: the half of `Space` that runs bodies."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from hubbub.kernel import ClosedError, Label, ReadOnlyError, TransientError
from hubbub.mount import watching
from hubbub.mount.base import Mount
from hubbub.mount.workspace import Workspace, peer_label
from hubbub.space.context import Transaction, annotated, enter, leave, running

T = TypeVar("T")

_POOLED = 16
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25


class Transactions:
    """Run bodies in transactions, with workspaces that are used again. For any number of threads.

    Args:
        mount: Where the records are.
        serializable: What transactions are that don't say.
    """

    def __init__(self, mount: Mount, *, serializable: bool = False) -> None:
        self._mount = mount
        self._serializable = serializable
        self._label = peer_label()
        self._lock = threading.Lock()
        self._pools: tuple[list[Workspace], list[Workspace]] = ([], [])
        self._is_closed = False

    @contextmanager
    def transaction(
        self,
        *,
        note: str | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
        serializable: bool | None = None,
    ) -> Iterator[Any]:
        """Run the block as one transaction: it gets the root, and is committed at its end.

        Args:
            note: What it is about, in a few words; kept with the commit, as the next two.
            user: On whose behalf it is.
            extra: More, plain values by name.
            serializable: Check at the commit that nothing of what it has read was changed meanwhile, the nodes of
                containers included: then it is as if the transactions of this kind had run one after the other (SP6).
                Without it, only what it has written is checked. None: as the space was opened.

        Raises:
            ConflictError: Somebody was first; nothing is stored, run it again (`run` does).
            UnstorableError: Something can't be stored; nothing is.
            HubbubError: As `Mount.commit`. An exception of the block aborts it and goes on upwards.
        """
        label = annotated(self._label, note, user, extra)
        workspace = self._take(serializable)
        objects = workspace.objects
        transaction = Transaction(objects, time.time(), label=label)
        try:
            with running(transaction):
                yield objects.root
                workspace.commit(transaction, transaction.label)
        except BaseException:
            objects.abort()
            raise
        finally:
            self._give_back(workspace)

    def run(
        self,
        fn: Callable[..., T],
        *args: Any,
        attempts: int = 30,
        note: str | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
        serializable: bool | None = None,
    ) -> T:
        """Run ``fn(root, *args)`` as one transaction, again after a conflict; return what it returned.

        `hubbub.now`, `unique` and `random` give the same in each attempt.

        Args:
            fn: May run more than once; it touches nothing but the space.
            *args: For it.
            attempts: How often at most.
            note: What it is about; as `transaction`.
            user: On whose behalf it is; as `transaction`.
            extra: More; as `transaction`.
            serializable: As `transaction`.

        Raises:
            TransientError: Of the last attempt; says how many there were.
            Exception: Whatever ``fn`` raises; nothing is stored.
        """
        label = self._label
        if note is not None or user is not None or extra:
            label = annotated(label, note, user, extra)
        started, seed = time.time(), random.getrandbits(64)
        pause_s = _FIRST_PAUSE_S
        attempt = 1
        while True:
            try:
                return self._attempt(started, seed, label, serializable, fn, args)
            except TransientError as error:
                if attempt >= attempts:
                    lasted_s = time.time() - started
                    error.message = (
                        f"{error.message} (given up after {attempt} attempts in {lasted_s:.1f} s)"
                    )
                    raise
            attempt += 1
            time.sleep(random.uniform(0, pause_s))
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    def _attempt(
        self,
        now: float,
        seed: int,
        label: Label,
        serializable: bool | None,
        fn: Callable[..., T],
        args: tuple[Any, ...],
    ) -> T:
        """As `transaction`, without what a context manager costs."""
        workspace = self._take(serializable)
        objects = workspace.objects
        transaction = Transaction(objects, now, label=label, seed=seed)
        token = enter(transaction)
        try:
            value = fn(objects.root, *args)
            workspace.commit(transaction, transaction.label)
            return value
        except BaseException:
            objects.abort()
            raise
        finally:
            leave(token)
            self._give_back(workspace)

    def read(self, fn: Callable[..., T], *args: Any) -> T:
        """Run ``fn(root, *args)`` on the newest snapshot; return what it returned. Return values, not shared objects.

        Raises:
            ReadOnlyError: If it changes anything; nothing is stored.
        """
        workspace = self._take()
        objects = workspace.objects
        objects.read_only = True
        try:
            value: T = watching.read_at(workspace, fn, args)
            changed = objects.prepare().records
            if changed:
                raise ReadOnlyError(
                    f"a read changed a value inside {changed[0].class_name}; use run()"
                )
            return value
        finally:
            objects.abort()
            objects.read_only = self._mount.read_only
            self._give_back(workspace)

    def _take(self, serializable: bool | None = False) -> Workspace:
        strict = self._serializable if serializable is None else serializable
        with self._lock:
            if self._is_closed:
                raise ClosedError("the space is closed")
            pool = self._pools[strict]
            workspace = pool.pop() if pool else None
        if workspace is None:
            return Workspace(self._mount, read_only=self._mount.read_only, serializable=strict)
        workspace.move()
        return workspace

    def _give_back(self, workspace: Workspace) -> None:
        workspace.rest()
        with self._lock:
            pool = self._pools[workspace.is_serializable]
            if not self._is_closed and len(pool) < _POOLED:
                pool.append(workspace)
