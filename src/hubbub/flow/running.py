"""A graph that runs: its leaves as tasks, and how it ends (FL2, FL3).

    start --> each leaf is a task --> leaf ends --> its outlets lose a producer, its boxes stop --> ... --> all ended
                                  |
                                  +-> leaf fails --> it restarts, or: all others are cancelled, the graph has failed

Nothing here waits: what has to happen when a leaf ends happens in the call back of its task. What goes wrong there
fails the graph, too.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Box
from hubbub.flow.component import Component, Outlets, box_of
from hubbub.flow.dev import context_of
from hubbub.flow.graph import Flat, flat_of
from hubbub.flow.linked import ENDED, Linked
from hubbub.flow.restarting import Failures
from hubbub.flow.rings import Ring, rings_of
from hubbub.flow.tracking import Hand
from hubbub.kernel import ComponentFailedError, Finished, GraphError, Stopped

if TYPE_CHECKING:
    from hubbub.flow.runner import Runner

log = logging.getLogger("hubbub.flow")


class Running:
    """A started graph. ``await`` it for its end.

    Args:
        graph: What runs.
        runner: Who runs it.
        inboxes: Boxes that already exist, for the graph's own inboxes: whoever gives one keeps the right to end it.
        outlets: Where what goes out of the graph's own outboxes goes; their boxes lose a producer when it is all out.
        within: The component that runs it in its own place, or None.

    Attributes:
        graph: What runs.
        runner: Who runs it.
        within: The component that runs it in its own place, or None.
        failure: Why it failed, or None.
        rings: Its cycles.
        left: How many items were in boxes whose readers had ended before.
    """

    def __init__(
        self,
        graph: Component,
        runner: Runner,
        *,
        inboxes: Mapping[str, Box[Any]] | None = None,
        outlets: Mapping[str, Outlets] | None = None,
        within: Component | None = None,
    ) -> None:
        self.graph = graph
        self.runner = runner
        self.within = within
        self.failure: ComponentFailedError | None = None
        self.rings: list[Ring] = []
        self.left = 0
        self._waiting: dict[Component, asyncio.TimerHandle] = {}
        self._failures: dict[Component, Failures] = {}
        self._others: dict[str, BaseException] = {}
        self._sending: dict[Component, int] = {}
        self._asked: set[Component] = set()
        self._paths: dict[Component, str] | None = None
        self._stopping = False
        self._finishing = False
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._awaited = 0
        self._lives: list[tuple[Component, Coroutine[Any, Any, None]]] = []
        flat = flat_of(graph)
        for leaf in flat.paths:
            if leaf._running is not None:
                raise GraphError(
                    f"{leaf!r} runs already, or has run: a component runs once, make another"
                )
        for leaf in flat.paths:
            leaf._hand = leaf._out = leaf._outlets = leaf._task = None
        self._linked = Linked(graph, flat, inboxes or {}, outlets or {})
        self._leaves = self._linked.leaves
        self._alive = len(self._leaves)
        self._active = sum(not leaf.passive for leaf in self._leaves)
        for leaf in self._leaves:
            leaf._running = self
        self._linked.take_over()
        self.rings = rings_of(self, flat)

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()

    async def wait(self) -> None:
        """Wait for the end.

        Raises:
            ComponentFailedError: If a component failed.
        """
        self._awaited += 1
        try:
            await asyncio.shield(self._over)
        finally:
            self._awaited -= 1
        if self.failure is not None:
            raise self.failure

    async def to_its_end(self) -> None:
        """Wait for the end; being cancelled stops it first.

        Raises:
            ComponentFailedError: If a component failed.
        """
        try:
            await self.wait()
        except asyncio.CancelledError:
            self.stop()
            await self.wait()
            raise

    def when_over(self, call: Callable[[Running], object]) -> None:
        """Call ``call`` with this when all components have ended: soon, if they have already."""
        self._over.add_done_callback(lambda _: call(self))

    @property
    def is_over(self) -> bool:
        """Whether all of its components have ended."""
        return self._over.done()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for its end, and so hears of its failure."""
        return self._awaited > 0

    @property
    def is_passive(self) -> bool:
        """Whether all of its components that have not ended only serve others."""
        return self._active == 0

    @property
    def flat(self) -> Flat:
        """The graph taken apart into what runs."""
        return flat_of(self.graph)

    def finish(self) -> None:
        """Come to a good end: sources stop, all that is on its way is drained in order (FL2). Idempotent."""
        if not self._finishing and not self._stopping:
            self._finishing = True
            for leaf in self._leaves:
                if self.lives(leaf):
                    self._let_finish(leaf)
            self.look_at_rings()

    def stop(self) -> None:
        """End now: every component is cancelled, what is in boxes is dropped. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        restarting = list(self._waiting)
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for leaf in self._leaves:
            for box in self._linked.own_boxes_of(leaf):
                self.left += len(box.stop())
            if leaf._task is not None:
                leaf._task.cancel()
        for leaf in restarting:
            self._leaf_ended(leaf, handled=False)

    def cancel(self, leaf: Component) -> None:
        """Cancel one component's main, as its good end; but let it send first what it is just sending."""
        self._asked.add(leaf)
        timer = self._waiting.pop(leaf, None)
        if timer is not None:
            timer.cancel()
            self._leaf_ended(leaf, handled=False)
        elif leaf._task is not None and leaf not in self._sending:
            leaf._task.cancel()

    def lives(self, leaf: Component) -> bool:
        """Whether ``leaf`` has not ended."""
        return leaf._task is not None

    def restarts(self, leaf: Component) -> bool:
        """Whether ``leaf`` has failed and waits for its next run."""
        return leaf in self._waiting

    def is_fed(self, leaf: Component) -> bool:
        """Whether ``leaf`` has an inbox that is linked, and so hears of the end by it."""
        return bool(self.boxes_of(leaf))

    def is_idle(self) -> bool:
        """Whether nothing is on its way in it: see `Component.is_idle`."""
        return all(
            leaf.is_idle() and not any(map(len, self.boxes_of(leaf).values()))
            for leaf in self._leaves
            if self.lives(leaf)
        )

    def feeds(self, box: Box[Any]) -> int:
        """Return how many linkages lead from its components that have not ended into ``box``."""
        return sum(
            box_of(outlet) is box
            for leaf in self._leaves
            if self.lives(leaf)
            for outlets in self.outlets_of(leaf).values()
            for outlet in outlets
        )

    # ------------------------------------------------------------- for its components

    def box_of(self, leaf: Component, inbox: str) -> Box[Any]:
        """Return an inbox of ``leaf``.

        Raises:
            GraphError: If there is no such inbox.
        """
        if inbox not in leaf.inboxes:
            raise GraphError(
                f"{leaf!r} has no inbox {inbox!r}; it has {', '.join(map(repr, leaf.inboxes)) or 'none'}"
            )
        return self._linked.box(leaf, inbox)

    def boxes_of(self, leaf: Component) -> dict[str, Box[Any]]:
        """Return the inboxes of ``leaf`` that are linked."""
        return self._linked.boxes_of(leaf)

    def outlets_of(self, leaf: Component) -> dict[str, Outlets]:
        """Return each outbox of ``leaf`` that is linked, and where it leads."""
        return self._linked.outlets_of(leaf)

    def path_of(self, leaf: Component) -> str:
        """Return the path of ``leaf``, such as ``demux.filter``."""
        if self._paths is None:
            self._paths = self.flat.paths
        return self._paths[leaf]

    def share_hand(self, leaf: Component, hand: Hand) -> None:
        """Let all boxes of ``leaf`` know its hand."""
        for box in self.boxes_of(leaf).values():
            box.hand = hand

    def look_at_rings(self) -> None:
        """End each cycle that nothing more comes into and in which nothing moves."""
        for ring in self.rings:
            ring.look()
        if self.within is not None:
            self.within.waits()

    def begins_to_send(self, leaf: Component) -> None:
        """``leaf`` waits until something is sent."""
        self._sending[leaf] = self._sending.get(leaf, 0) + 1

    def has_sent(self, leaf: Component) -> bool:
        """``leaf`` waits for that no more. Return whether it is cancelled now, since it was asked to end meanwhile."""
        count = self._sending.pop(leaf) - 1
        if count:
            self._sending[leaf] = count
        elif leaf in self._asked and leaf._task is not None:
            leaf._task.cancel()
            return True
        return False

    # ----------------------------------------------------------------------- its start

    def make_lives(self) -> None:
        """Make what the leaves' tasks will run: the last thing that may go wrong before they do."""
        for leaf in self._leaves:
            self._lives.append((leaf, leaf.life()))

    def begin(self) -> None:
        """Run all leaves. Called once, after all that starts together has provided and prepared."""
        lives, self._lives = self._lives, []
        for leaf, life in lives:
            self._spawn(leaf, life)
        if not lives:
            self._over.set_result(None)

    def undo(self) -> None:
        """Be as if it had never been made: what it was to be started with can't be."""
        for _, life in self._lives:
            life.close()
        self._linked.undo()
        for leaf in self._leaves:
            leaf._running = leaf._hand = leaf._out = leaf._outlets = None
            if "inbox" in leaf.inboxes:
                del leaf._inbox

    def leaves(self) -> Sequence[Component]:
        """Return the components that run, or ran."""
        return self._leaves

    def _spawn(self, leaf: Component, life: Coroutine[Any, Any, None]) -> None:
        context = context_of(self.path_of(leaf)) if self.runner.dev else None
        task = leaf._task = self._loop.create_task(life, name=leaf.label, context=context)
        task.add_done_callback(leaf._task_ended, context=self._context)

    # ------------------------------------------------------------------------- its end

    def task_ended(self, leaf: Component, task: asyncio.Task[None]) -> None:
        """The task of ``leaf`` is done: look how, and do what follows from it."""
        try:
            self._look_at_end(leaf, task)
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the graph
            self._fail(leaf, error)

    def _look_at_end(self, leaf: Component, task: asyncio.Task[None]) -> None:
        asked = self._stopping or leaf in self._asked
        if not task.cancelled():
            error = task.exception()
        elif asked:
            self._leaf_ended(leaf, handled=False)
            return
        else:
            error = asyncio.CancelledError("cancelled, though nobody asked it to end")
        if error is None or isinstance(error, Finished | Stopped):
            self._leaf_ended(leaf, handled=not isinstance(error, Stopped))
        elif self._stopping:
            path = self.path_of(leaf)
            self._others[path] = error
            log.error("component %s failed while it was stopped", path, exc_info=error)
            self._leaf_ended(leaf, handled=False)
        elif leaf.restart is None or isinstance(error, KeyboardInterrupt | SystemExit):
            self._fail(leaf, error)
            self._leaf_ended(leaf, handled=False)
        else:
            self._failed(leaf, error)

    def _failed(self, leaf: Component, error: BaseException) -> None:
        """A component failed that is declared restartable."""
        assert leaf.restart is not None
        path = self.path_of(leaf)
        failures = self._failures.get(leaf)
        if failures is None:
            failures = self._failures[leaf] = Failures(leaf.restart)
        wait = failures.failed(self._loop.time())
        if wait is None:
            self._fail(leaf, error)
            self._leaf_ended(leaf, handled=False)
        elif leaf in self._asked:
            log.warning("component %s failed while it came to its end", path, exc_info=error)
            self._leaf_ended(leaf, handled=False)
        else:
            log.warning(
                "component %s failed and starts again in %.2f s", path, wait, exc_info=error
            )
            if leaf._hand is not None:
                if leaf.restart.item == "again":
                    leaf._hand.lay_back()
                else:
                    leaf._hand.release()
            self._waiting[leaf] = self._loop.call_later(wait, self._restart, leaf)

    def _restart(self, leaf: Component) -> None:
        del self._waiting[leaf]
        try:
            self._spawn(leaf, leaf.life())
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the graph
            self._fail(leaf, error)
            self._leaf_ended(leaf, handled=False)
            return
        if self._finishing:
            self._let_finish(leaf)

    def _let_finish(self, leaf: Component) -> None:
        try:
            leaf.finish()
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the graph
            self._fail(leaf, error)

    def _fail(self, leaf: Component, error: BaseException) -> None:
        """Take the graph down, for what ``leaf`` raised."""
        path = self.path_of(leaf)
        if self.failure is None:
            self.failure = ComponentFailedError(path, error, self._others)
            self.failure.__cause__ = error
        else:
            self._others[path] = error
        self.stop()

    def _leaf_ended(self, leaf: Component, *, handled: bool) -> None:
        """``leaf`` will never run again. ``handled`` says of what it had in hand that nothing is left to do for it."""
        leaf._task = None
        self._alive -= 1
        self._active -= not leaf.passive
        try:
            if handled and not self._stopping and leaf._hand is not None:
                leaf._hand.release()
            for outlets in self.outlets_of(leaf).values():
                for outlet in outlets:
                    outlet.producer_finished()
            for box in self._linked.own_boxes_of(leaf):
                left = box.stop()
                self.left += len(left)
                if not self._stopping:
                    self._linked.let_go(box, left)
            leaf.withdraw()
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the graph
            self._fail(leaf, error)
        if self._alive == 0:
            if not self._over.done():
                self._over.set_result(None)
        elif self._active == 0 and not leaf.passive:
            self.finish()
        else:
            self.look_at_rings()

    def failures_of(self, leaf: Component) -> int:
        """Return how often ``leaf`` has failed and was started again."""
        failures = self._failures.get(leaf)
        return failures.count if failures is not None else 0


__all__ = ["ENDED", "Running"]
