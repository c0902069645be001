"""The thread that has what is durable in the group log put into the tables, beside the commits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hubbub.kernel import HubbubError, OutcomeUnknownError
from hubbub.store.copyprocess import (
    CopyOrder,
    CopyProcess,
    CopyProcessLostError,
    error_of,
)
from hubbub.store.recent import Recent
from hubbub.store.tables import Tables

_log = logging.getLogger("hubbub.store")


class Copier:
    """Put one `Recent` at a time into the tables.

    The tables belong to this thread from `begin` until `wait` returns, and to the store's writer otherwise.

    Args:
        tables: Where it goes.
        on_put: Called, in this thread, when it is there.
        process: Copies it, as long as it can; else this thread does.
    """

    def __init__(
        self, tables: Tables, on_put: Callable[[], None], process: CopyProcess | None = None
    ) -> None:
        self._tables = tables
        self._on_put = on_put
        self._process = process
        self._recent: Recent | None = None
        self._place = (0, 0)
        self._due = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="hubbub-copier", daemon=True)
        self._thread.start()

    def begin(self, recent: Recent, place: tuple[int, int]) -> None:
        """Have ``recent``, which stands at ``place`` in the group log, put into the tables.

        Nothing else may be under way.
        """
        self._idle.clear()
        self._recent, self._place = recent, place
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
            if not self._is_put_apart(recent):
                self._tables.put([recent])
                self._on_put()
                self._tables.keep_log_short()
        except HubbubError as error:
            # It stays in the group log, and the next write tells: it tries again, or is refused.
            _log.warning("durable commits wait in the log of %s: %s", self._tables.path, error)
        except BaseException as error:  # noqa: BLE001 - logged; a thread's exceptions end here
            _log.exception("putting durable commits into %s failed", self._tables.path)
            self._tables.set_doubt(error)

    def _is_put_apart(self, recent: Recent) -> bool:
        """Have the process copy it; False if there is none, or none any more: nobody knows then what is there.

        Raises:
            HubbubError: As `Tables.put`.
        """
        process = self._process
        if process is None:
            return False
        try:
            with self._tables.lent():
                process.order(CopyOrder(*self._place, recent.number))
                news = process.news()
                if not news.error:
                    self._on_put()
                while not news.is_over:
                    news = process.news()
        except CopyProcessLostError as lost:
            _log.warning(
                "the process that copies the log of %s is gone (%s): this one copies it from now on",
                *(self._tables.path, lost),
            )
            self._process = None
            return False
        if news.doubt:
            self._tables.doubt = news.doubt
            raise OutcomeUnknownError(news.doubt)
        if news.error:
            raise error_of(news)
        return True

    def close(self) -> None:
        """Wait for what is under way, then end the thread, and the process. Idempotent."""
        self.wait()
        if self._process is not None:
            # First: on Linux it is bound to the thread that has started it.
            self._process.close()
        self._is_closed = True
        self._due.set()
        self._thread.join()
