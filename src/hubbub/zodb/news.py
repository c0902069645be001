"""Tell ZODB what others have committed, before anybody is told of a newer last transaction.

Theory of operation
===================

*Told* is the tid up to which ZODB knows what has changed. ZODB begins transactions there, so it moves only under the
lock, after `invalidate` or the callback of ``tpc_finish`` have returned, and in tid order.

    others' commits:  mount moves on -> lock [ invalidate(what changed since told); told = newest ]
    an own commit:    commit -> tid -> lock [ wait for own ones before it; invalidate(what others changed before it);
                                              callback(tid); told = tid ]

While own commits are under way nobody else tells anything: their objects must not be invalidated in the connections
that wrote them, and the callback tells all the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from hubbub.kernel import ClosedError, FeedGapError, HubbubError, Tid, oid_bytes
from hubbub.mount import Mount

_log = logging.getLogger("hubbub.zodb")


class _Own:
    """An own commit that is under way: what it writes, and its tid once that is known."""

    __slots__ = ("tid", "written")

    def __init__(self, written: frozenset[int]) -> None:
        self.written = written
        self.tid = 0


class News:
    """Keep ZODB's view of a mount in step.

    Args:
        mount: Whose news.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._wrapper: Any = None
        self.lock = threading.RLock()
        self._finish_over = threading.Condition(self.lock)
        self._finishing: list[_Own] = []
        self._told: int = mount.begin()
        self._thread: threading.Thread | None = None

    def register(self, wrapper: Any) -> None:
        """Tell ``wrapper`` (``IStorageWrapper``) from now on."""
        with self.lock:
            self._wrapper = wrapper
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._follow, name="hubbub-zodb-news", daemon=True
                )
                self._thread.start()

    @property
    def told(self) -> Tid:
        """The last transaction that ZODB may know of."""
        with self.lock:
            if self._wrapper is None and not self._finishing:
                self._told = self._mount.begin()
            return Tid(self._told)

    def catch_up(self) -> None:
        """Tell what has arrived, unless an own commit is about to do so."""
        with self.lock:
            if not self._finishing:
                self._tell()

    def finish(
        self,
        commit: Callable[[], Tid],
        written: Collection[int],
        callback: Callable[[bytes], object] | None,
    ) -> Tid:
        """Commit, and tell of it.

        Args:
            commit: Commits, durably, and returns the tid. What it raises goes on upwards.
            written: The oids that it writes.
            callback: Called with the tid before anybody begins a transaction there.
        """
        own = _Own(frozenset(written))
        with self.lock:
            self._finishing.append(own)
        try:
            tid = commit()
            with self.lock:
                own.tid = tid
                self._finish_over.notify_all()  # that it is known may be enough
                self._tell_of_others(own)
                if callback is not None:
                    callback(oid_bytes(tid))
                self._told = max(self._told, tid)
        finally:
            with self.lock:
                self._finishing.remove(own)
                self._finish_over.notify_all()
        return tid

    def close(self) -> None:
        """Wait for the thread. The mount has to be closed before."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _follow(self) -> None:
        try:
            while True:
                self._mount.wait(self._told)
                with self.lock:
                    while self._finishing:
                        self._finish_over.wait()
                    self._tell()
        except ClosedError:
            pass
        except HubbubError:
            _log.exception("ZODB is told of other's commits only where it asks, from now on")

    def _tell(self) -> None:
        newest, changed = self._mount.changed_since(self._told)
        if newest != self._told:
            self._invalidate(newest, changed)
            self._told = newest

    def _tell_of_others(self, own: _Own) -> None:
        """Tell what changed since then and before ``own``, which is committed."""
        while True:
            _, changed = self._mount.changed_since(self._told)
            if changed is None:
                self._invalidate(own.tid - 1, None)
                return
            if not self._is_one_before(own, changed):
                break
            self._finish_over.wait()
        if changed - own.written and self._wrapper is not None:
            self._invalidate(own.tid - 1, self._changed_before(own.tid))

    def _is_one_before(self, own: _Own, changed: frozenset[int]) -> bool:
        """Tell whether an own commit comes before ``own`` and has not told of itself yet.

        One whose tid is not known yet comes later, unless its objects are among those that changed.
        """
        return any(
            other.tid < own.tid and other is not own and not changed.isdisjoint(other.written)
            for other in self._finishing
        )

    def _changed_before(self, tid: int) -> set[int] | None:
        changed: set[int] = set()
        after = self._told
        try:
            while after < tid and (piece := self._mount.feed(after)):
                for entry in piece:
                    after = entry.tid
                    if after >= tid:
                        break
                    changed.update(entry.oids)
        except FeedGapError:
            return None
        return changed

    def _invalidate(self, tid: int, changed: Collection[int] | None) -> None:
        if self._wrapper is None:
            return
        if changed is None:
            self._wrapper.invalidateCache()
        elif changed:
            self._wrapper.invalidate(oid_bytes(tid), list(map(oid_bytes, changed)))
