"""Running graphs: from ordinary code, from a loop, from a thread of its own.

==========================  ========================================================================================
``run(a, b)``               a program: runs all that is given, and all that was registered by `activate`, to the end
``graph.activate()``        outside a loop: registers; inside a runner: starts it
``await graph``             inside a loop: runs it to its end
``async with Runner()``     inside a loop: starts several, and names backplanes for them
``with background(graph)``  in synchronous code: a thread with a loop of its own, ``put`` and ``get``
==========================  ========================================================================================

Names, such as those of backplanes, belong to a runner, not to the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from hubbub.flow.box import Box
from hubbub.flow.component import Component, Outlets
from hubbub.flow.describing import Description, describe
from hubbub.flow.functions import as_component
from hubbub.flow.running import Running
from hubbub.kernel import GraphError

Until = Literal["all", "first"]

_current: contextvars.ContextVar[Runner | None] = contextvars.ContextVar("runner", default=None)

_registered: list[Component] = []


class Runner:
    """Runs graphs in one loop, and gives them one place for names.

    >>> async with Runner() as runner:
    ...     runner.start(Backplane("news"))
    ...     await runner.start(graph)

    Leaving the block stops what still runs. A graph that fails ends the others, and the block with its failure (FL3).
    """

    def __init__(self) -> None:
        self.names: dict[tuple[type, str], Any] = {}
        self._roots: dict[Running, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._changed: asyncio.Event = asyncio.Event()
        self._token: contextvars.Token[Runner | None] | None = None
        self._first_ended = False

    @staticmethod
    def current() -> Runner | None:
        """Return the runner of the surrounding code, or None."""
        return _current.get()

    async def __aenter__(self) -> Self:
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        finally:
            assert self._token is not None
            _current.reset(self._token)
        if self._failure is not None and error is None:
            raise self._failure

    def start(self, *graphs: Any) -> Running:
        """Start ``graphs`` together; return what runs the first.

        First all of them announce their names, then all get ready, then they run: so nothing that one publishes is lost
        to another.

        Raises:
            GraphError: If one of them can't be started. None was.
        """
        started = self.launch([as_component(graph) for graph in graphs])
        for running in started:
            self._roots[running] = asyncio.get_running_loop().create_task(self._watch(running))
        return started[0]

    def launch(
        self,
        graphs: list[Component],
        *,
        inboxes: Mapping[str, Box[Any]] | None = None,
        outlets: Mapping[str, Outlets] | None = None,
    ) -> list[Running]:
        """Start ``graphs`` together without watching them: whoever calls this looks after their ends.

        Args:
            graphs: What to run.
            inboxes: See `Running`.
            outlets: See `Running`.

        Raises:
            GraphError: If one of them can't be started. None was.
        """
        token = _current.set(self)
        started: list[Running] = []
        try:
            started = [Running(graph, self, inboxes=inboxes, outlets=outlets) for graph in graphs]
            self._make_ready([leaf for running in started for leaf in running.leaves()])
            for running in started:
                running.begin()
        finally:
            _current.reset(token)
        return started

    def _make_ready(self, leaves: list[Component]) -> None:
        try:
            for leaf in leaves:
                leaf.provide()
            for leaf in leaves:
                leaf.prepare()
        except BaseException:
            for leaf in leaves:
                leaf.withdraw()
            raise

    async def wait(self, until: Until = "all") -> None:
        """Wait until all graphs that were started have ended, or the first; then the others come to a good end.

        Graphs that only serve others, such as backplanes, are not waited for: they end with the rest.

        Raises:
            ComponentFailedError: If one has failed; the others are stopped.
        """
        while self._roots and self._failure is None:
            if all(running.is_passive for running in self._roots):
                self.finish()
            self._changed.clear()
            await self._changed.wait()
            if until == "first" and self._first_ended:
                self.finish()
        if self._failure is not None:
            await self.stop()
            failure, self._failure = self._failure, None
            raise failure

    def finish(self) -> None:
        """Let all graphs come to a good end: see `Running.finish`."""
        for running in list(self._roots):
            running.finish()

    async def stop(self) -> None:
        """Stop all graphs now, and wait until they have."""
        for running in list(self._roots):
            running.stop()
        for task in list(self._roots.values()):
            await asyncio.wait([task])

    async def _watch(self, running: Running) -> None:
        """Wait for the end of ``running``; if it has failed, everything has."""
        try:
            await running.wait()
        except Exception as error:  # noqa: BLE001 - raised by `wait` or the end of the block
            if self._failure is None:
                self._failure = error
            for other in list(self._roots):
                other.stop()
        del self._roots[running]
        if not all(leaf.passive for leaf in running.leaves()):
            self._first_ended = True
        self._changed.set()


async def run_to_end(graph: Component) -> None:
    """Run ``graph`` to its end, in the current runner or in one of its own. Being cancelled stops it."""
    runner = _current.get()
    if runner is None:
        async with Runner() as runner:
            runner.start(graph)
            await runner.wait()
        return
    (running,) = runner.launch([graph])
    try:
        await running.wait()
    finally:
        if not running.is_over:
            running.stop()
            await asyncio.shield(running.wait())


def activate(graph: Any) -> Component:
    """Register ``graph`` for the next `run`, or start it where a runner already runs. Return it.

    Raises:
        GraphError: In a loop without a runner.
    """
    component = as_component(graph)
    runner = _current.get()
    if runner is not None:
        runner.start(component)
        return component
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _registered.append(component)
        return component
    raise GraphError(
        "there is no runner in this loop: 'await graph', or 'async with Runner() as runner: runner.start(graph)'"
    )


def run(
    *graphs: Any,
    until: Until = "all",
    watch: Callable[[list[Description]], None] | None = None,
    watch_s: float = 1.0,
) -> None:
    """Run ``graphs``, and all that was registered by `activate`, until all have ended, or the first.

    Ctrl-C and SIGTERM let everything come to a good end; a second one stops it.

    Args:
        graphs: Graphs, components, functions, iterables.
        until: ``all``, or ``first``: when the first has ended, the others come to a good end.
        watch: Called again and again with what `Component.describe` says of each.
        watch_s: Seconds between two such calls.

    Raises:
        ComponentFailedError: If a component failed; everything else is stopped.
        GraphError: If there is nothing to run, something can't be started, or a loop runs in this thread already.
    """
    together = [*_registered, *map(as_component, graphs)]
    _registered.clear()
    if not together:
        raise GraphError("there is nothing to run: give graphs, or activate() some before")
    if until not in ("all", "first"):
        raise GraphError(f"until is 'all' or 'first', not {until!r}")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise GraphError("a loop runs in this thread already: 'await graph' instead of run(graph)")
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        loop.run(_run(together, until, watch, watch_s))


async def _run(
    graphs: list[Component],
    until: Until,
    watch: Callable[[list[Description]], None] | None,
    watch_s: float,
) -> None:
    async with Runner() as runner:
        with _Signals(runner):
            runner.start(*graphs)
            watching = asyncio.create_task(_watch(graphs, watch, watch_s)) if watch else None
            try:
                await runner.wait(until)
            finally:
                if watching is not None:
                    watching.cancel()


async def _watch(
    graphs: list[Component], watch: Callable[[list[Description]], None], watch_s: float
) -> None:
    while True:
        watch([describe(graph) for graph in graphs])
        await asyncio.sleep(watch_s)


class _Signals:
    """While it is entered, the first Ctrl-C or SIGTERM finishes a runner, the second stops it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._seen = 0
        self._before: dict[signal.Signals, Any] = {}
        self._stopping: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def came(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._came)

        for kind in (signal.SIGINT, signal.SIGTERM):
            self._before[kind] = signal.signal(kind, came)

    def __exit__(self, *_: object) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)

    def _came(self) -> None:
        self._seen += 1
        if self._seen == 1:
            self._runner.finish()
        elif self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._runner.stop())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def in_own_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` in a new loop of the calling thread."""
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        loop.run(main)
