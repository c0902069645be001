"""A graph in a thread with a loop of its own, for ordinary synchronous code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from hubbub.flow.box import Box
from hubbub.flow.component import Outlets
from hubbub.flow.declaring import Boxes
from hubbub.flow.functions import as_component
from hubbub.flow.graph import flat_of
from hubbub.flow.runner import Runner, in_own_loop
from hubbub.flow.running import Running
from hubbub.kernel import BoxFullError, ClosedError, Finished, GraphError, Stopped

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
        self._feeds = True
        self._runner: Runner | None = None
        self._failure: BaseException | None = None
        self._turn: asyncio.Lock
        self._read_out: asyncio.Event

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
        """Give ``item`` to the graph's inbox; block while that is full, or do what its policy says.

        Args:
            item: What to give.
            timeout_s: Seconds to wait at most, or None.

        Raises:
            GraphError: If the graph has no such inbox.
            BoxFullError: If there was no room in time, or by the policy ``fail``. Nothing was given.
            ComponentFailedError: If the graph has failed.
            ClosedError: If the graph has ended.
        """
        box = self._box(self._inbox, self._inbox_name, self._graph.inboxes, "inbox")

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
            GraphError: If the graph has no such outbox.
            TimeoutError: If nothing came in time.
            Finished: If the graph has ended and all is read.
            ComponentFailedError: If the graph has failed.
        """
        box = self._box(self._outbox, self._outbox_name, self._graph.outboxes, "outbox")

        async def get() -> Any:
            async with asyncio.timeout(timeout_s), self._turn:  # threads take turns
                return await box.get()

        try:
            return self._do(get())
        except TimeoutError:
            raise TimeoutError(
                f"nothing came out of {self._outbox_name!r} for {timeout_s} s"
            ) from None

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.get()
            except Finished:
                return
            yield item

    def finish(self) -> None:
        """Say that nothing more will be put in; what comes out can still be read. Idempotent."""
        self._end(self._finish)

    def close(self) -> None:
        """Let the graph come to a good end, wait for it, and drop what is not read. Idempotent.

        Raises:
            ComponentFailedError: If the graph failed, or one beside it.
        """
        self._end(self._finish, self._discard)
        self._ended.result()

    def stop(self) -> None:
        """Stop the graph now, and wait until it has. Idempotent."""
        self._end(self._stop)
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
        self._turn = asyncio.Lock()
        graph = self._graph
        self._read_out = asyncio.Event()
        over = asyncio.Event()
        inboxes: dict[str, Box[Any]] = {}
        outlets: dict[str, Outlets] = {}
        if self._inbox_name in graph.inboxes:
            flat = flat_of(graph)
            entry = flat.declared(flat.inboxes[self._inbox_name][0])
            self._inbox = inboxes[self._inbox_name] = Box(
                self._inbox_name,
                items=entry.items,
                limit_bytes=entry.limit_bytes,
                when_full=entry.when_full,
            )
            self._inbox.producers = 1
        if self._outbox_name in graph.outboxes:
            self._outbox = Box(self._outbox_name)
            self._outbox.producers = 1  # so that its end comes when it is known how the graph ended
            outlets[self._outbox_name] = (self._outbox,)
        self._runner = runner = Runner()
        running = runner.start(graph, *self._beside, inboxes=inboxes, outlets=outlets)
        running.when_over(self._over)
        running.when_over(lambda _: over.set())
        self._running = running
        self._begun.set_result(None)
        try:
            await over.wait()
            runner.finish()
            try:
                await runner.wait()
            finally:
                await self._read_out.wait()
        finally:
            await runner.stop()

    def _over(self, running: Running) -> None:
        assert self._runner is not None
        self._failure = self._runner.failure
        if self._inbox is not None:
            self._inbox.stop()
        if self._outbox is None:
            self._read_out.set()
        else:
            self._outbox.finish()  # until it is closed it can be read

    def _end(self, *calls: Callable[[], None]) -> None:
        """Have ``calls`` made in the loop, if there is one still."""
        if self._thread.ident is None:
            if not self._ended.done():
                self._ended.set_result(None)  # it was never begun
        elif self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                for call in calls:
                    self._loop.call_soon_threadsafe(call)

    def _box(self, box: Box[Any] | None, name: str, there: Boxes, kind: str) -> Box[Any]:
        if name not in there:
            has = ", ".join(map(repr, there)) or "none"
            raise GraphError(f"{self._graph!r} has no {kind} {name!r}; it has {has}")
        if box is None:
            raise ClosedError(f"{self._graph!r} does not run: use background(...) in a with block")
        return box

    def _do(self, waiting: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._ended.done():
            waiting.close()
            return self._refuse()
        try:
            asked = asyncio.run_coroutine_threadsafe(waiting, self._loop)
        except RuntimeError:  # the loop was closed just now
            waiting.close()
            return self._refuse()
        try:
            either: tuple[concurrent.futures.Future[Any], ...] = (asked, self._ended)
            concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
        except concurrent.futures.CancelledError:
            pass
        except (Finished, Stopped):
            if self._failure is not None:
                raise self._failure from self._failure.__cause__
            raise
        finally:
            asked.cancel()  # where this thread was interrupted: nobody waits for it any more
        return self._refuse()

    def _refuse(self) -> NoReturn:
        self._ended.result()
        raise ClosedError(f"{self._graph!r} has ended")

    def _finish(self) -> None:
        if self._inbox is not None and self._feeds:
            self._feeds = False
            self._inbox.producer_finished()
        if self._running is not None:
            self._running.finish()

    def _discard(self) -> None:
        self._read_out.set()
        if self._outbox is not None:
            self._outbox.discard()

    def _stop(self) -> None:
        self._read_out.set()
        assert self._runner is not None
        self._runner.stop_nowait()
        if self._outbox is not None:
            self._outbox.stop()


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
