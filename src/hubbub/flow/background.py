"""A graph in a thread with a loop of its own, for ordinary synchronous code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from hubbub.flow.box import Box
from hubbub.flow.component import Outlets
from hubbub.flow.functions import as_component
from hubbub.flow.runner import Runner, in_own_loop
from hubbub.flow.running import Running
from hubbub.kernel import BoxFullError, ClosedError, Finished, Stopped

T = TypeVar("T")


class Background:
    """A graph that runs beside synchronous code. Made by `background`; use it in a ``with`` block.

    Leaving the block lets the graph come to a good end, and raises what it failed with. Left by an exception, it stops.
    """

    def __init__(self, graph: Any, *, inbox: str, outbox: str, beside: tuple[Any, ...]) -> None:
        self._graph = as_component(graph)
        self._beside = [as_component(other) for other in beside]
        self._inbox_name = inbox
        self._outbox_name = outbox
        self._thread = threading.Thread(
            target=self._run, name="hubbub-flow background", daemon=True
        )
        self._begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: Box[Any] | None = None
        self._outbox: Box[Any] | None = None
        self._running: Running | None = None
        self._closing: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.stop()

    def put(self, item: Any, timeout_s: float | None = None) -> None:
        """Give ``item`` to the graph's inbox; block while that is full.

        Args:
            item: What to give.
            timeout_s: Seconds to wait at most, or None.

        Raises:
            GraphError: If the graph has no such inbox.
            BoxFullError: If there was no room in time. Nothing was given.
            ComponentFailedError: If the graph has failed.
            ClosedError: If the graph has ended.
        """
        box = self._inbox
        if box is None:
            raise ClosedError(f"{self._graph!r} has no inbox {self._inbox_name!r}, or does not run")

        async def put() -> None:
            async with asyncio.timeout(timeout_s):
                await box.put(item)

        try:
            self._do(put())
        except Stopped:
            raise ClosedError(f"{self._graph!r} has ended") from None
        except TimeoutError:
            raise BoxFullError(
                f"there was no room in {self._inbox_name!r} for {timeout_s} s"
            ) from None

    def get(self, timeout_s: float | None = None) -> Any:
        """Return the next item out of the graph's outbox; block for it.

        Args:
            timeout_s: Seconds to wait at most, or None.

        Raises:
            TimeoutError: If nothing came in time.
            Finished: If the graph has ended and all is read.
            ComponentFailedError: If the graph has failed.
        """
        box = self._outbox
        if box is None:
            raise ClosedError(
                f"{self._graph!r} has no outbox {self._outbox_name!r}, or does not run"
            )

        async def get() -> Any:
            async with asyncio.timeout(timeout_s):
                return await box.get()

        return self._do(get())

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.get()
            except Finished:
                return
            yield item

    def finish(self) -> None:
        """Say that nothing more will be put in; what comes out can still be read. Idempotent."""
        if self._loop is not None and not self._ended.done():
            self._loop.call_soon_threadsafe(self._finish)

    def close(self) -> None:
        """Let the graph come to a good end, wait for it, and drop what is not read. Idempotent.

        Raises:
            ComponentFailedError: If the graph failed.
        """
        self.finish()
        if self._loop is not None and not self._ended.done():
            self._loop.call_soon_threadsafe(self._drop)
        self._ended.result()

    def stop(self) -> None:
        """Stop the graph now, and wait until it has. Idempotent."""
        if self._loop is not None and not self._ended.done() and self._running is not None:
            self._loop.call_soon_threadsafe(self._running.stop)
            self._loop.call_soon_threadsafe(self._drop)
        self._ended.exception()

    # ------------------------------------------------------------------ in its thread

    def _run(self) -> None:
        try:
            in_own_loop(self._main())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that uses it
            if not self._begun.done():
                self._begun.set_exception(error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        graph = self._graph
        async with Runner() as runner:
            if self._beside:
                runner.start(*self._beside)
            inboxes: dict[str, Box[Any]] = {}
            outlets: dict[str, Outlets] = {}
            if self._inbox_name in graph.inboxes:
                self._inbox = inboxes[self._inbox_name] = Box(self._inbox_name)
                self._inbox.producers = 1
            if self._outbox_name in graph.outboxes:
                self._outbox = Box(self._outbox_name)
                outlets[self._outbox_name] = (self._outbox,)
            (running,) = runner.launch([graph], inboxes=inboxes, outlets=outlets)
            self._running = running
            self._closing = asyncio.Event()
            self._begun.set_result(None)
            try:
                await running.wait()
            finally:
                if self._inbox is not None:
                    self._inbox.stop()
                if self._outbox is not None:
                    self._outbox.finish()
                    await self._closing.wait()  # until then it can be read

    def _finish(self) -> None:
        if self._inbox is not None:
            self._inbox.finish()
        elif self._running is not None:
            self._running.finish()

    def _drop(self) -> None:
        self._closing.set()
        if self._outbox is not None:
            self._outbox.stop()

    def _do(self, waiting: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._ended.done():
            waiting.close()
            self._ended.result()
            raise ClosedError(f"{self._graph!r} has ended")
        try:
            return asyncio.run_coroutine_threadsafe(waiting, self._loop).result()
        except (Finished, Stopped):
            if self._running is not None and self._running.failure is not None:
                raise self._running.failure from None
            raise


def background(
    graph: Any, *beside: Any, inbox: str = "inbox", outbox: str = "outbox"
) -> Background:
    """Return a graph that runs in a thread with a loop of its own, to be used by ``with``.

    >>> with background(Pipeline(parse, check)) as checked:
    ...     checked.put(line)
    ...     print(checked.get(timeout_s=1))

    Args:
        graph: What to run.
        beside: Other graphs that run with it, such as backplanes.
        inbox: Which of its inboxes `Background.put` fills.
        outbox: Which of its outboxes `Background.get` empties.
    """
    return Background(graph, inbox=inbox, outbox=outbox, beside=beside)
