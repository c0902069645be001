"""The thread that puts what is durable in the group log into the tables, beside the commits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hubbub.kernel import HubbubError
from hubbub.store.recent import Recent
from hubbub.store.tables import Tables

_log = logging.getLogger("hubbub.store")


class Copier:
    """Put one `Recent` at a time into the tables.

    The tables belong to this thread from `begin` until `wait` returns, and to the store's writer otherwise.

    Args:
        tables: Where it goes.
        on_put: Called, in this thread, when it is there.
    """

    def __init__(self, tables: Tables, on_put: Callable[[], None]) -> None:
        self._tables = tables
        self._on_put = on_put
        self._recent: Recent | None = None
        self._due = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="hubbub-copier", daemon=True)
        self._thread.start()

    def begin(self, recent: Recent) -> None:
        """Have ``recent`` put into the tables. Nothing else may be under way."""
        self._idle.clear()
        self._recent = recent
        self._due.set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self._idle.is_set()

    def wait(self) -> None:
        """Wait until nothing is under way. Whether it has succeeded, `on_put` has told."""
        self._idle.wait()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._is_closed:
                return
            try:
                self._put()
            finally:
                self._idle.set()

    def _put(self) -> None:
        recent, self._recent = self._recent, None
        assert recent is not None
        try:
            self._tables.put([recent])
            self._on_put()
            self._tables.keep_log_short()
        except HubbubError as error:
            # It stays in the group log, and the next write tells: it tries again, or is refused.
            _log.warning("durable commits wait in the log of %s: %s", self._tables.path, error)
        except BaseException as error:  # noqa: BLE001 - logged; a thread's exceptions end here
            _log.exception("putting durable commits into %s failed", self._tables.path)
            self._tables.set_doubt(error)

    def close(self) -> None:
        """Wait for what is under way, then end the thread. Idempotent."""
        self.wait()
        self._is_closed = True
        self._due.set()
        self._thread.join()
