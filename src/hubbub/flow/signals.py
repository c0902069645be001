"""Ctrl-C and SIGTERM: the first one asks for a good end, the second one stops."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from hubbub.flow.describing import describe

if TYPE_CHECKING:
    from hubbub.flow.component import Component
    from hubbub.flow.runner import Runner

log = logging.getLogger("hubbub.flow")

TELL_S = 2.0
"""Who has asked for an end that takes longer is told what it waits for."""


class Signals:
    """While it is entered, the first Ctrl-C or SIGTERM finishes a runner, the second stops it.

    A third one raises `KeyboardInterrupt` wherever the thread is: something may hold up the loop. Where the good end
    takes a while the log says what is still at work: a client without a server would wait for ever.

    Args:
        runner: Whose end is asked for.
        graphs: What it runs.
        tell_s: After how long that is said.
    """

    def __init__(
        self, runner: Runner, graphs: Sequence[Component], *, tell_s: float = TELL_S
    ) -> None:
        self._runner = runner
        self._graphs = graphs
        self._tell_s = tell_s
        self._seen = 0
        self._before: dict[signal.Signals, Any] = {}
        self._stopping: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def came(_number: int, _frame: FrameType | None) -> None:
            self._seen += 1
            if self._seen > 2:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(self._finish if self._seen == 1 else self._stop)

        for kind in (signal.SIGINT, signal.SIGTERM):
            self._before[kind] = signal.signal(kind, came)

    def __exit__(self, *_: object) -> None:
        if self._telling is not None:
            self._telling.cancel()
        for kind, before in self._before.items():
            if before is not None:  # it was set by something other than Python
                signal.signal(kind, before)

    def _finish(self) -> None:
        self._telling = asyncio.get_running_loop().call_later(self._tell_s, self._tell)
        self._runner.finish()

    def _stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._stopping = asyncio.get_running_loop().create_task(self._runner.stop())

    def _tell(self) -> None:
        described = [describe(graph) for graph in self._graphs if not graph.passive]
        log.warning(
            "asked to end, and still at work: %s; %d items wait in boxes. "
            "Once more, Ctrl-C or SIGTERM, stops all of it at once and drops what is on its way",
            ", ".join(
                part.path for graph in described for part in graph.parts if part.state != "ended"
            ),
            sum(
                {
                    link.target: link.waiting for graph in described for link in graph.linkages
                }.values()
            ),
        )
