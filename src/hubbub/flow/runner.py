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
import contextlib
import contextvars
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from hubbub.flow.box import Box
from hubbub.flow.component import Component, Outlets
from hubbub.flow.describing import Description, describe
from hubbub.flow.dev import Watchdog
from hubbub.flow.functions import as_component
from hubbub.flow.running import Running
from hubbub.flow.signals import Signals
from hubbub.kernel import GraphError

log = logging.getLogger("hubbub.flow")

Until = Literal["all", "first"]

_current: contextvars.ContextVar[Runner | None] = contextvars.ContextVar("runner", default=None)

_registered: list[Component] = []


class Runner:
    """Runs graphs in one loop, and gives them one place for names.

    >>> async with Runner() as runner:
    ...     runner.start(Backplane("news"))
    ...     await runner.start(graph)

    Leaving the block stops what still runs. A graph that fails ends the others, and the block with its failure (FL3):
    the block is cancelled for that, unless somebody awaits that very graph, and hears of it there.

    Args:
        dev: Whether sockets, subprocesses and sleeps in components of the loop raise `BlockingError`, and what else
            holds up the loop, in a block, is told of in the log (FL4).

    Attributes:
        dev: Likewise.
        names: What components have announced: kind and name, to what is called so.
        is_finishing: Whether all that runs was asked to come to a good end, and has not yet.
    """

    def __init__(self, *, dev: bool = False) -> None:
        self.dev = dev
        self._watchdog: Watchdog | None = None
        self.names: dict[tuple[type, str], Any] = {}
        self.is_finishing = False
        self._roots: set[Running] = set()
        self._failure: BaseException | None = None
        self._changed: asyncio.Event = asyncio.Event()
        self._token: contextvars.Token[Runner | None] | None = None
        self._first_ended = False
        self._block: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._awaited = 0

    @staticmethod
    def current() -> Runner | None:
        """Return the runner of the surrounding code, or None."""
        return _current.get()

    async def __aenter__(self) -> Self:
        self._token = _current.set(self)
        self._block = asyncio.current_task()
        if self.dev:
            self._watchdog = Watchdog()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        try:
            await self.stop()
            if self._interrupted and not isinstance(error, asyncio.CancelledError):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)  # the block was left before its interruption came
        finally:
            assert self._token is not None
            _current.reset(self._token)
            if self._watchdog is not None:
                self._watchdog.close()
        if block is not None and self._interrupted and block.uncancel() > 0:
            if error is None:
                raise asyncio.CancelledError  # somebody else has cancelled it, too
            return
        failure = self._failure
        if failure is None or failure is error:
            return
        if error is None or (self._interrupted and isinstance(error, asyncio.CancelledError)):
            raise failure from failure.__cause__
        log.error("a graph failed in a block that failed itself: %s", failure, exc_info=failure)

    @property
    def failure(self) -> BaseException | None:
        """What a graph has failed with that nobody has been told of yet, or None."""
        return self._failure

    def start(
        self,
        *graphs: Any,
        inboxes: Mapping[str, Box[Any]] | None = None,
        outlets: Mapping[str, Outlets] | None = None,
    ) -> Running:
        """Start ``graphs`` together; return what runs the first.

        First all of them announce their names, then all get ready, then they run: so nothing that one publishes is lost
        to another.

        Args:
            graphs: What to run: components, functions, iterables.
            inboxes: See `Running`; of the first one.
            outlets: See `Running`; of the first one.

        Raises:
            GraphError: If one of them can't be started. None was.
        """
        started = self.launch(
            [as_component(graph) for graph in graphs], inboxes=inboxes, outlets=outlets
        )
        for running in started:
            self._roots.add(running)
            running.when_over(self._root_over)
        return started[0]

    def launch(
        self,
        graphs: list[Component],
        *,
        inboxes: Mapping[str, Box[Any]] | None = None,
        outlets: Mapping[str, Outlets] | None = None,
        within: Component | None = None,
    ) -> list[Running]:
        """Start ``graphs`` together without watching them: whoever calls this looks after their ends.

        Args:
            graphs: What to run.
            inboxes: See `Running`; of the first one.
            outlets: See `Running`; of the first one.
            within: See `Running`.

        Raises:
            GraphError: If one of them can't be started. None was, and whatever a component raised that could not get
                ready is raised as it is.
        """
        token = _current.set(self)
        names = dict(self.names)
        started: list[Running] = []
        try:
            for graph in graphs:
                started.append(
                    Running(graph, self, inboxes=inboxes, outlets=outlets, within=within)
                )
                inboxes = outlets = None
            _make_ready([leaf for running in started for leaf in running.leaves()])
            for running in started:
                running.make_lives()
        except BaseException:
            for running in started:
                running.undo()
            self.names.clear()
            self.names.update(names)
            raise
        finally:
            _current.reset(token)
        for running in started:
            running.begin()
        return started

    async def wait(self, until: Until = "all") -> None:
        """Wait until all graphs that were started have ended, or the first; then the others come to a good end.

        Graphs that only serve others, such as backplanes, are not waited for: they end with the rest.

        Raises:
            ComponentFailedError: If one has failed; the others are stopped.
        """
        self._awaited += 1
        try:
            while self._roots and self._failure is None:
                if (until == "first" and self._first_ended) or all(
                    running.is_passive for running in self._roots
                ):
                    self.finish()
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._awaited -= 1
        if self._failure is not None:
            await self.stop()
            failure, self._failure = self._failure, None
            raise failure

    def finish(self) -> None:
        """Let all graphs come to a good end: see `Running.finish`."""
        self.is_finishing = bool(self._roots)
        for running in list(self._roots):
            running.finish()

    async def stop(self) -> None:
        """Stop all graphs now, and wait until they have."""
        self.stop_nowait()
        while self._roots:
            self._changed.clear()
            await self._changed.wait()

    def stop_nowait(self) -> None:
        """Stop all graphs now, and do not wait for them."""
        for running in list(self._roots):
            running.stop()

    def _root_over(self, running: Running) -> None:
        """A graph has ended; if it has failed, everything has."""
        self._roots.discard(running)
        if not self._roots:
            self.is_finishing = False
        self._changed.set()
        if not all(leaf.passive for leaf in running.leaves()):
            self._first_ended = True
        if running.failure is None:
            return
        if self._failure is None:
            self._failure = running.failure
        self.stop_nowait()
        if self._block is not None and not self._awaited and not running.is_awaited:
            self._interrupted = True
            self._block.cancel()


def _make_ready(leaves: list[Component]) -> None:
    try:
        for leaf in leaves:
            leaf.provide()
        for leaf in leaves:
            leaf.prepare()
    except BaseException:
        for leaf in leaves:
            leaf.withdraw()
        raise


async def run_to_end(graph: Component) -> None:
    """Run ``graph`` to its end, in the current runner or in one of its own. Being cancelled stops it."""
    runner = _current.get()
    if runner is None:
        async with Runner() as runner:
            runner.start(graph)
            await runner.wait()
        return
    (running,) = runner.launch([graph])
    await running.to_its_end()


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
    dev: bool = False,
) -> None:
    """Run ``graphs``, and all that was registered by `activate`, until all have ended, or the first.

    Ctrl-C and SIGTERM let everything come to a good end; a second one stops it.

    Args:
        graphs: Graphs, components, functions, iterables.
        until: ``all``, or ``first``: when the first has ended, the others come to a good end.
        watch: Called again and again with what `Component.describe` says of each. If it raises, that is logged, and
            it is called no more.
        watch_s: Seconds between two such calls.
        dev: See `Runner`.

    Raises:
        ComponentFailedError: If a component failed; everything else is stopped.
        GraphError: If there is nothing to run, something can't be started, or a loop runs in this thread already.
    """
    if until not in ("all", "first"):
        raise GraphError(f"until is 'all' or 'first', not {until!r}")
    together = list(dict.fromkeys([*_registered, *map(as_component, graphs)]))
    if not together:
        raise GraphError("there is nothing to run: give graphs, or activate() some before")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise GraphError("a loop runs in this thread already: 'await graph' instead of run(graph)")
    _registered.clear()
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        loop.run(_run(together, until, watch, watch_s, dev))


async def _run(
    graphs: list[Component],
    until: Until,
    watch: Callable[[list[Description]], None] | None,
    watch_s: float,
    dev: bool,
) -> None:
    async with Runner(dev=dev) as runner:
        with Signals(runner, graphs):
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
        try:
            watch([describe(graph) for graph in graphs])
        except Exception:
            log.exception("what watches the graphs failed; they go on unwatched")
            return
        await asyncio.sleep(watch_s)


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
