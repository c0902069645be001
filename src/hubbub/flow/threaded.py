"""Components whose code blocks: each has a thread of its own (FL4).

Theory of operation
===================

The component's boxes stay on the loop. Its thread has two lists, one for each direction, and whole batches cross at a
time::

    loop     box --take--> [batch] ........................ outgoing --send_all--> other boxes
    thread                 for item in self.inbox    self.send(item)

``send`` blocks while the list of outgoing items is full, and the loop empties it only as fast as the receiving boxes
take them: back-pressure reaches the thread (FL1). Reading blocks until the loop has something. A thread can't be
cancelled: when its graph is stopped, ``send`` and reading raise `Stopped` there. One that blocks elsewhere is waited
for a few seconds, and then left behind with a word in the log; it keeps no process alive.

What the thread has sent is carried by a task of its own. So it arrives, as far as somebody takes it, also where the
component is asked to end meanwhile. Tokens are touched in the loop only: the thread passes on what it has read from.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from hubbub.flow.bounds import ITEMS
from hubbub.flow.component import Component, path_in
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.tracking import Token, Tracked, let_go
from hubbub.flow.waiting import first_ready
from hubbub.kernel import Finished, GraphError, Stopped

log = logging.getLogger("hubbub.flow")

PATIENCE_S = 5.0
"""How long a thread is waited for whose graph is stopped."""


class ThreadedComponent(Component):
    """Like `Component`, with a plain ``def main`` that may block, in a thread of its own.

    >>> class Lookup(ThreadedComponent):
    ...     def main(self):
    ...         db = sqlite3.connect("events.db")
    ...         for code in self.inbox:
    ...             self.send(db.execute("select text from kinds where code = ?", (code,)).fetchone())

    In ``main``, `send`, `receive` and ``for item in self.inbox`` are the words of a `Component`, without ``await``.
    They raise `Stopped` when the graph is stopped; let it end ``main``.
    """

    __slots__ = ("_bridge",)

    _bridge: _Bridge

    @classmethod
    def _check_main(cls) -> None:
        main = cls.__dict__.get("main")
        if main is not None and (
            inspect.iscoroutinefunction(main) or inspect.isasyncgenfunction(main)
        ):
            raise GraphError(
                f"{cls.__name__}.main has to be a plain 'def': it runs in a thread; "
                "for 'async def main' derive from Component"
            )

    def main(self) -> None:
        """Do the component's work, blocking where it must; return when it is done. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} has no main")

    @property
    def inbox(self) -> Inbox:  # type: ignore[override]
        """The inbox of that name, to be read by the thread."""
        return self.box("inbox")

    def box(self, inbox: str) -> Inbox:  # type: ignore[override]
        """Return the inbox of that name, to be read by the thread.

        Raises:
            GraphError: If there is no such inbox.
            ClosedError: If the component does not run.
        """
        super().box(inbox)
        return Inbox(self._bridge, inbox)

    def send(self, item: Any, outbox: str = "outbox") -> None:  # type: ignore[override]
        """Send ``item`` to whatever ``outbox`` is linked to; block while there is no room (FL1).

        Raises:
            GraphError: If there is no such outbox, or it is linked to nothing and not declared loose. Nothing was sent.
            Stopped: If the graph is stopped, or the receiver has ended. Nothing was sent.
        """
        self.outlets(outbox)
        self._bridge.send(outbox, item)

    def send_all(self, items: Sequence[Any], outbox: str = "outbox") -> None:  # type: ignore[override]
        """Send each of ``items``, in order: see `send`."""
        for item in items:
            self.send(item, outbox)

    def receive(  # type: ignore[override]
        self, *inboxes: str, timeout_s: float | None = None
    ) -> tuple[str, Any]:
        """Block until there is an item in any of ``inboxes``; return the inbox's name and the item.

        Args:
            inboxes: Names, earlier ones go first; all inboxes if there is none.
            timeout_s: Seconds to wait at most, or None.

        Raises:
            TimeoutError: If nothing came in time.
            Finished: If all of them are read to their ends.
            Stopped: If the graph is stopped.
        """
        return self._bridge.receive(inboxes or tuple(self.inboxes), timeout_s)

    def keep(self) -> tuple[Token, ...]:
        """See `Component.keep`."""
        return self._bridge.keep()

    def resume(self, tokens: tuple[Token, ...]) -> None:
        """See `Component.resume`."""
        self._bridge.resume(tokens)

    def sleep(self, seconds: float) -> None:
        """Block for so long, or until the graph is stopped.

        Raises:
            Stopped: If the graph is stopped.
        """
        self._bridge.sleep(seconds)

    def life(self) -> Coroutine[Any, Any, None]:
        return self._live()

    async def _live(self) -> None:
        self._bridge = bridge = _Bridge(self)
        bridge.begin()
        carrying = asyncio.ensure_future(bridge.carry())
        try:
            await asyncio.shield(carrying)
        except asyncio.CancelledError:
            await self._end_thread(bridge, carrying)
            if not bridge.done.done() or carrying.cancelled():
                raise
        except Stopped:
            await self._end_thread(bridge, carrying)
            if not bridge.done.done() or bridge.done.exception() is None:
                raise  # else what the thread has raised tells more
        except BaseException:
            await self._end_thread(bridge, carrying)
            raise
        bridge.lay_back()
        bridge.done.result()

    async def _end_thread(self, bridge: _Bridge, carrying: asyncio.Future[None]) -> None:
        """Stop the thread, carry on what it has sent, as far as somebody takes it, and wait for its end."""
        bridge.stop()
        try:
            await asyncio.wait((carrying, bridge.done), timeout=PATIENCE_S)
        finally:
            if not carrying.done():
                carrying.cancel()
                await asyncio.wait((carrying,))
            elif not carrying.cancelled():
                carrying.exception()  # looked at: `Stopped`, where nobody takes what it carries
            if not bridge.done.done():
                log.warning("the thread of %s still runs; it is left behind", path_in(self))

    def is_idle(self) -> bool:
        return super().is_idle() and self._bridge.is_empty


class Threaded(ThreadedComponent):
    """Call a function that blocks for each item, in a thread; send on what it returns, but for None.

    Args:
        function: Called with each item.
    """

    inboxes: Boxes = {"inbox": "what the function is called with"}
    outboxes: Boxes = {"outbox": box("what the function makes of it", loose=True)}

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    @property
    def label(self) -> str:
        return str(getattr(self._function, "__name__", None) or type(self._function).__name__)

    def main(self) -> None:
        for item in self.inbox:
            result = self._function(item)
            if result is not None:
                self.send(result)


class Inbox:
    """An inbox as its thread sees it: iterate over it."""

    __slots__ = ("_bridge", "_name")

    def __init__(self, bridge: _Bridge, name: str) -> None:
        self._bridge = bridge
        self._name = name

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self._bridge.next(self._name)
            except Finished:
                return
            yield item

    def get(self, timeout_s: float | None = None) -> Any:
        """Return the oldest item, after blocking for one.

        Args:
            timeout_s: Seconds to wait at most, or None.

        Raises:
            TimeoutError: If nothing came in time.
            Finished: If all is read and all producers have finished.
            Stopped: If the graph is stopped.
        """
        if timeout_s is None:
            return self._bridge.next(self._name)
        return self._bridge.receive((self._name,), timeout_s)[1]


class _Handled:
    """In the list of outgoing items: what was read before this has been handled."""


_HANDLED = _Handled()


class _Bridge:
    """What crosses between a component's thread and its loop."""

    def __init__(self, component: ThreadedComponent) -> None:
        self._component = component
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = threading.Condition()
        self._outgoing: list[tuple[str, Any, tuple[Token, ...]]] = []
        self._rung = False
        self._carries = False
        self._stopped = False
        self._filling: concurrent.futures.Future[str] | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()
        # of the thread, but for the filling of batches, while which it waits:
        self._batches: dict[str, list[Any]] = {}
        self._tokens: tuple[Token, ...] = ()
        self._in_hand: tuple[str, Any] | None = None

    # ------------------------------------------------------------------ in the loop

    def begin(self) -> None:
        """Start the thread."""
        context = contextvars.copy_context()
        name = f"hubbub-flow {path_in(self._component)}"
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()

    @property
    def is_empty(self) -> bool:
        """Whether all that the thread has sent has arrived."""
        return not self._outgoing and not self._carries

    async def carry(self) -> None:
        """Send on what the thread sends, until it has ended and all is sent."""
        send_all = super(ThreadedComponent, self._component).send_all
        while True:
            with self._room:
                outgoing, self._outgoing = self._outgoing, []
                self._rung = False
                self._room.notify_all()
            if outgoing:
                self._carries = True
                for outbox, items in _runs(outgoing):
                    await send_all(items, outbox)
                self._carries = False
                self._component.waits()  # a ring may have waited for this
            elif self.done.done():
                return
            else:
                await self._wake.wait()
                self._wake.clear()

    def stop(self) -> None:
        """Let the thread's next `send` or reading raise `Stopped`, and the one in which it waits, too."""
        with self._room:
            self._stopped = True
            self._room.notify_all()
            filling = self._filling
        if filling is not None:
            filling.cancel()

    def lay_back(self) -> None:
        """Lay what the thread had taken and not handled back into its boxes: somebody may read it yet."""
        policy = self._component.restart
        if self._in_hand is not None:
            name, item = self._in_hand
            if policy is not None and policy.item == "again":
                self._batches.setdefault(name, []).append(item)
            elif policy is not None:
                let_go([item])
        for name, items in self._batches.items():
            super(ThreadedComponent, self._component).box(name).put_back(reversed(items))

    def _ended(self, error: BaseException | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
                self.done.exception()  # looked at: the component's task raises it, if anybody waits
        self._wake.set()

    async def _fill(self, names: tuple[str, ...], timeout_s: float | None) -> str:
        """Take all that waits in the first of ``names`` in which something does; return which it is."""
        inbox = super(ThreadedComponent, self._component).box
        boxes = [inbox(name) for name in names]
        ready = await first_ready(boxes, timeout_s)
        name = names[boxes.index(ready)]
        batch = ready.take_nowait()
        batch.reverse()
        self._batches[name] = batch  # here, not in the thread: what is taken is never nowhere
        return name

    # ---------------------------------------------------------------- in the thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._component.main()
            self._handled()
        except BaseException as raised:  # noqa: BLE001 - it is raised again in the loop
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._ended, error)

    def send(self, outbox: str, item: Any) -> None:
        with self._room:
            while len(self._outgoing) >= ITEMS and not self._stopped:
                self._room.wait()
            self._check()
            self._outgoing.append((outbox, item, self._tokens))
            ring, self._rung = not self._rung, True
        if ring:
            self._ring()

    def next(self, name: str) -> Any:
        self._handled()
        batch = self._batches.get(name)
        if not batch:
            self._wait_for((name,), None)
            batch = self._batches[name]
        item = batch.pop()
        self._in_hand = (name, item)
        if type(item) is Tracked:
            self._tokens = item.tokens
            return item.item
        return item

    def receive(self, names: tuple[str, ...], timeout_s: float | None) -> tuple[str, Any]:
        self._handled()
        inbox = super(ThreadedComponent, self._component).box
        there = (name for name in names if self._batches.get(name) or len(inbox(name)))
        name = next(there, None) or self._wait_for(names, timeout_s)
        return name, self.next(name)

    def keep(self) -> tuple[Token, ...]:
        tokens, self._tokens = self._tokens, ()
        self._in_hand = None
        return tokens

    def resume(self, tokens: tuple[Token, ...]) -> None:
        self._tokens += tokens

    def sleep(self, seconds: float) -> None:
        with self._room:
            self._room.wait_for(lambda: self._stopped, seconds)
            self._check()

    def _handled(self) -> None:
        tokens, self._tokens = self._tokens, ()
        self._in_hand = None
        if tokens:
            with self._room:
                self._outgoing.append(("", _HANDLED, tokens))
                ring, self._rung = not self._rung, True
            if ring:
                self._ring()

    def _check(self) -> None:
        if self._stopped:
            raise Stopped(f"{self._component!r} is stopped")

    def _ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError as closed:
            raise Stopped(f"{self._component!r} is stopped: its loop is closed") from closed

    def _wait_for(self, names: tuple[str, ...], timeout_s: float | None) -> str:
        with self._room:
            self._check()
            filling = self._fill(names, timeout_s)
            try:
                waiting = asyncio.run_coroutine_threadsafe(filling, self._loop)
                self._filling = waiting
            except RuntimeError as closed:
                filling.close()
                raise Stopped(f"{self._component!r} is stopped: its loop is closed") from closed
        try:
            return waiting.result()
        except concurrent.futures.CancelledError:
            raise Stopped(f"{self._component!r} is stopped") from None
        finally:
            self._filling = None


def _runs(
    outgoing: list[tuple[str, Any, tuple[Token, ...]]],
) -> Iterator[tuple[str, list[Any]]]:
    """Yield items that go to the same outbox together, in order; release what has been handled between."""
    run: list[Any] = []
    where = ""
    for outbox, item, tokens in outgoing:
        if (outbox != where or item is _HANDLED) and run:
            yield where, run
            run = []
        if item is _HANDLED:
            for token in tokens:
                token.release()
        else:
            where = outbox
            run.append(Tracked(item, tokens) if tokens else item)
    if run:
        yield where, run
