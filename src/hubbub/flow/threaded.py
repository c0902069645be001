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
from typing import Any, TypeVar

from hubbub.flow.box import ITEMS, first_ready
from hubbub.flow.component import Component, path_in
from hubbub.flow.declaring import Boxes, box
from hubbub.flow.tracking import Token, Tracked
from hubbub.kernel import Finished, GraphError, Stopped

log = logging.getLogger("hubbub.flow")

T = TypeVar("T")

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

    def main(self) -> None:  # type: ignore[override]
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
        done = bridge.begin()
        try:
            await bridge.carry()
        except asyncio.CancelledError:
            await self._end_thread(bridge, done)
            if not done.done():
                raise
        except BaseException:
            await self._end_thread(bridge, done)
            raise
        bridge.lay_back()
        done.result()

    async def _end_thread(self, bridge: _Bridge, done: asyncio.Future[None]) -> None:
        """Stop the thread, carry on what it has sent, as far as somebody takes it, and wait for its end."""
        bridge.stop()
        carrying = asyncio.ensure_future(bridge.carry())
        await asyncio.wait([carrying], timeout=PATIENCE_S)
        if carrying.cancel() or carrying.exception() is not None:
            await asyncio.wait([done], timeout=PATIENCE_S)
        if not done.done():
            log.warning("the thread of %s still runs; it is left behind", path_in(self))


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

    def main(self) -> None:  # type: ignore[override]
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


class _Release:
    """In the list of outgoing items: what was read before this has been handled."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self.tokens = tokens


class _Bridge:
    """What crosses between a component's thread and its loop."""

    def __init__(self, component: ThreadedComponent) -> None:
        self._component = component
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = threading.Condition()
        self._outgoing: list[tuple[str, Any]] = []
        self._rung = False
        self._stopped = False
        self._done: asyncio.Future[None] = self._loop.create_future()
        # of the thread:
        self._batches: dict[str, list[Any]] = {}
        self._tokens: tuple[Token, ...] = ()
        self._in_hand: tuple[str, Any] | None = None

    # ------------------------------------------------------------------ in the loop

    def begin(self) -> asyncio.Future[None]:
        """Start the thread; return the future of its end."""
        context = contextvars.copy_context()
        name = f"hubbub-flow {path_in(self._component)}"
        threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True).start()
        return self._done

    async def carry(self) -> None:
        """Send on what the thread sends, until it has ended and all is sent."""
        send_all = super(ThreadedComponent, self._component).send_all
        while True:
            with self._room:
                outgoing, self._outgoing = self._outgoing, []
                self._rung = False
                self._room.notify_all()
            for outbox, items in _runs(outgoing):
                await send_all(items, outbox)
                for item in items:
                    if type(item) is Tracked:
                        item.release()  # its box holds it now
            if not outgoing:
                if self._done.done():
                    return
                await self._wake.wait()
                self._wake.clear()

    def stop(self) -> None:
        """Let the thread's next `send` or reading raise `Stopped`."""
        with self._room:
            self._stopped = True
            self._room.notify_all()

    def lay_back(self) -> None:
        """Lay what the thread had taken and not handled back into its boxes, for its next run."""
        policy = self._component.restart
        if policy is None:
            return
        if self._in_hand is not None:
            name, item = self._in_hand
            if policy.item == "again":
                self._batches.setdefault(name, []).append(item)
            elif type(item) is Tracked:
                item.release()
        for name, items in self._batches.items():
            super(ThreadedComponent, self._component).box(name).put_back(reversed(items))

    def _ended(self, error: BaseException | None) -> None:
        if not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)
                self._done.exception()  # looked at: the component's task raises it, if anybody waits
        self._wake.set()

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
        if self._tokens:
            item = Tracked(item, self._tokens)
        with self._room:
            while len(self._outgoing) >= ITEMS and not self._stopped:
                self._room.wait()
            self._check()
            self._outgoing.append((outbox, item))
            ring, self._rung = not self._rung, True
        if ring:
            self._loop.call_soon_threadsafe(self._wake.set)

    def next(self, name: str) -> Any:
        self._handled()
        batch = self._batches.get(name)
        if not batch:
            self._check()
            box = super(ThreadedComponent, self._component).box(name)
            batch = self._wait(box.take())
            batch.reverse()
            self._batches[name] = batch
        item = batch.pop()
        self._in_hand = (name, item)
        if type(item) is Tracked:
            self._tokens = item.tokens
            return item.item
        return item

    def receive(self, names: tuple[str, ...], timeout_s: float | None) -> tuple[str, Any]:
        for name in names:
            if self._batches.get(name):
                return name, self.next(name)
        self._handled()
        self._check()
        boxes = [super(ThreadedComponent, self._component).box(name) for name in names]
        ready = self._wait(first_ready(boxes, timeout_s))
        name = names[boxes.index(ready)]
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
                self._outgoing.append(("", _Release(tokens)))
                ring, self._rung = not self._rung, True
            if ring:
                self._loop.call_soon_threadsafe(self._wake.set)

    def _check(self) -> None:
        if self._stopped:
            raise Stopped(f"{self._component!r} is stopped")

    def _wait(self, waiting: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(waiting, self._loop).result()
        except concurrent.futures.CancelledError:
            raise Stopped(f"{self._component!r} is stopped") from None
        except RuntimeError as closed:
            waiting.close()
            raise Stopped(f"{self._component!r} is stopped: its loop is closed") from closed


def _runs(outgoing: list[tuple[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield items that go to the same outbox together, in order; release what has been handled between."""
    run: list[Any] = []
    where = ""
    for outbox, item in outgoing:
        if type(item) is _Release:
            if run:
                yield where, run
                run = []
            for token in item.tokens:
                token.release()
            continue
        if outbox != where and run:
            yield where, run
            run = []
        where = outbox
        run.append(item)
    if run:
        yield where, run
