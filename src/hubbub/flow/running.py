"""A graph that runs: its leaves as tasks, their boxes, how it ends (FL2, FL3).

    start --> each leaf is a task --> leaf ends --> its outlets lose a producer, its boxes stop --> ... --> all ended
                                  |
                                  +-> leaf fails --> it restarts, or: all others are cancelled, the graph has failed

Nothing here waits: what has to happen when a leaf ends happens in the call back of its task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hubbub.flow.box import Box, Feed
from hubbub.flow.component import Component, Outlets
from hubbub.flow.graph import Flat, LeafPlace, flat_of
from hubbub.flow.restarting import Failures
from hubbub.flow.rings import Ring, rings_of
from hubbub.flow.tracking import Hand
from hubbub.kernel import ComponentFailedError, Finished, GraphError, Stopped

if TYPE_CHECKING:
    from hubbub.flow.runner import Runner

log = logging.getLogger("hubbub.flow")


def _ended_box() -> Box[Any]:
    box: Box[Any] = Box("an unlinked inbox")
    box.finish()
    return box


ENDED = _ended_box()
"""What an inbox is that is linked to nothing: at its end from the beginning."""


class Running:
    """A started graph. ``await`` it for its end.

    Args:
        graph: What runs.
        runner: Who runs it.
        inboxes: Boxes that already exist, for the graph's own inboxes: whoever gives one keeps the right to end it.
        outlets: Where what goes out of the graph's own outboxes goes; their boxes lose a producer when it is all out.

    Attributes:
        graph: What runs.
        runner: Who runs it.
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
    ) -> None:
        self.graph = graph
        self.runner = runner
        self.failure: ComponentFailedError | None = None
        self.rings: list[Ring] = []
        self.left = 0
        self._flat = flat_of(graph)
        self._tasks: dict[asyncio.Task[None], Component] = {}
        self._waiting: dict[Component, asyncio.TimerHandle] = {}
        self._failures: dict[Component, Failures] = {}
        self._others: dict[str, BaseException] = {}
        self._boxes: dict[tuple[Component, str], Box[Any]] = {}
        self._outside: set[Any] = set()
        self._living = set(self._flat.paths)
        self._active = sum(not leaf.passive for leaf in self._flat.paths)
        self._stopping = False
        self._finishing = False
        self._on_end = self._ended
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for leaf in self._flat.paths:
            if leaf._running is not None:
                raise GraphError(
                    f"{leaf!r} runs already, or has run: a component runs once, make another"
                )
        self._link(inboxes or {}, outlets or {})

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()

    async def wait(self) -> None:
        """Wait for the end.

        Raises:
            ComponentFailedError: If a component failed.
        """
        await asyncio.shield(self._over)
        if self.failure is not None:
            raise self.failure

    def when_over(self, call: Callable[[Running], None]) -> None:
        """Call ``call`` with this, in a turn of the loop, when it is over. For those who look after many."""
        self._over.add_done_callback(lambda _over: call(self))

    @property
    def is_over(self) -> bool:
        """Whether all of its components have ended."""
        return self._over.done()

    @property
    def is_passive(self) -> bool:
        """Whether all of its components that have not ended only serve others."""
        return self._active == 0

    @property
    def flat(self) -> Flat:
        """The graph taken apart into what runs."""
        return self._flat

    def finish(self) -> None:
        """Come to a good end: sources stop, all that is on its way is drained in order (FL2). Idempotent."""
        if not self._finishing and not self._stopping:
            self._finishing = True
            for leaf in list(self._living):
                leaf.finish()
            self.look_at_rings()

    def stop(self) -> None:
        """End now: every component is cancelled, what is in boxes is dropped. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        for timer in self._waiting.values():
            timer.cancel()
        restarting = list(self._waiting)
        self._waiting.clear()
        for box in self._inside():
            self.left += len(box.stop())
        for task in list(self._tasks):
            task.cancel()
        for leaf in restarting:
            self._leaf_ended(leaf)

    def cancel(self, leaf: Component) -> None:
        """Cancel one component's main, as its good end."""
        for task, component in list(self._tasks.items()):
            if component is leaf:
                task.cancel()

    def lives(self, leaf: Component) -> bool:
        """Whether ``leaf`` has not ended."""
        return leaf in self._living

    def restarts(self, leaf: Component) -> bool:
        """Whether ``leaf`` has failed and waits for its next run."""
        return leaf in self._waiting

    def is_fed(self, leaf: Component) -> bool:
        """Whether anything may still come into an inbox of ``leaf``."""
        return any(self._box(leaf, name).producers > 0 for name in leaf.inboxes)

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
        return self._box(leaf, inbox)

    def path_of(self, leaf: Component) -> str:
        """Return the path of ``leaf``, such as ``demux.filter``."""
        return self._flat.paths[leaf]

    def share_hand(self, leaf: Component, hand: Hand) -> None:
        """Let all boxes of ``leaf`` know its hand."""
        for name in leaf.inboxes:
            box = self._box(leaf, name)
            if box is not ENDED:
                box.hand = hand

    def look_at_rings(self) -> None:
        """End each cycle that nothing more comes into and in which nothing moves."""
        for ring in self.rings:
            ring.look()

    # ----------------------------------------------------------------------- its start

    def begin(self) -> None:
        """Run all leaves. Called once, after all that starts together has provided and prepared."""
        for leaf in self._flat.paths:
            self._spawn(leaf)
        if not self._flat.paths:
            self._over.set_result(None)

    def leaves(self) -> Sequence[Component]:
        """Return the components that run, or ran."""
        return list(self._flat.paths)

    def _link(self, inboxes: Mapping[str, Box[Any]], outlets: Mapping[str, Outlets]) -> None:
        flat = self._flat
        ways: dict[LeafPlace, list[LeafPlace]] = {}
        fed: dict[LeafPlace, int] = {}
        for source, target in flat.linkages:
            ways.setdefault(source, []).append(target)
            fed[target] = fed.get(target, 0) + 1
        taken_over: dict[LeafPlace, Box[Any]] = {}
        for name, places in flat.inboxes.items():
            given = inboxes.get(name)
            if given is not None:
                if len(places) != 1:
                    raise GraphError(
                        f"inbox {name!r} of {self.graph!r} leads to {len(places)} places"
                    )
                taken_over[places[0]] = given
                self._outside.add(given)
        for leaf, path in flat.paths.items():
            leaf._running = self
            leaf._hand = None
            leaf._outlets = None
            leaf._out = None
            for name, entry in leaf.declared_inboxes().items():
                place = LeafPlace(leaf, name)
                box = taken_over.get(place)
                if box is None:
                    producers = fed.get(place, 0)
                    box = ENDED
                    if producers:
                        entry = flat.bounds.get(place, entry)
                        box = Box(
                            f"{path}.{name}",
                            owner=leaf,
                            items=entry.items,
                            limit_bytes=entry.limit_bytes,
                            when_full=entry.when_full,
                        )
                        box.producers = producers
                if leaf.restart is not None and leaf.restart.item == "again" and box is not ENDED:
                    box.remember()
                if name == "inbox":
                    leaf._inbox = box
                else:
                    self._boxes[leaf, name] = box
        for place, box in taken_over.items():
            box.pass_on(place.leaf)
        self._link_outlets(ways, fed, outlets)
        self.rings = rings_of(self)

    def _link_outlets(
        self,
        ways: dict[LeafPlace, list[LeafPlace]],
        fed: dict[LeafPlace, int],
        outlets: Mapping[str, Outlets],
    ) -> None:
        given: dict[LeafPlace, Outlets] = {}
        for name, places in self._flat.outboxes.items():
            if name in outlets:
                for box in outlets[name]:
                    if isinstance(box, Box):
                        box.producers += len(places)
                for place in places:
                    given[place] = outlets[name]
        for leaf in self._flat.paths:
            for name, entry in leaf.declared_outboxes().items():
                place = LeafPlace(leaf, name)
                found: list[Any] = []
                for target in ways.get(place, ()):
                    box = self._box(target.leaf, target.box)
                    found.append(box if fed[target] == 1 else Feed(box))
                found += given.get(place, ())
                if found or entry.loose:
                    self._set_outlets(leaf, name, tuple(found))

    def _set_outlets(self, leaf: Component, outbox: str, outlets: Outlets) -> None:
        if outbox == "outbox":
            leaf._out = outlets
        elif leaf._outlets is None:
            leaf._outlets = {outbox: outlets}
        else:
            leaf._outlets[outbox] = outlets

    def _box(self, leaf: Component, inbox: str) -> Box[Any]:
        return leaf._inbox if inbox == "inbox" else self._boxes[leaf, inbox]

    def outlets_of(self, leaf: Component) -> dict[str, Outlets]:
        """Return each outbox of ``leaf`` that is linked, and where it leads."""
        found = dict(leaf._outlets or {})
        if leaf._out is not None:
            found["outbox"] = leaf._out
        return found

    def boxes_of(self, leaf: Component) -> dict[str, Box[Any]]:
        """Return the inboxes of ``leaf`` that are linked."""
        found = {name: self._box(leaf, name) for name in leaf.inboxes}
        return {name: box for name, box in found.items() if box is not ENDED}

    def _inside(self) -> list[Box[Any]]:
        return [
            box
            for leaf in self._flat.paths
            for box in self.boxes_of(leaf).values()
            if box not in self._outside
        ]

    # -------------------------------------------------------------------------- its end

    def _spawn(self, leaf: Component) -> None:
        task = asyncio.get_running_loop().create_task(leaf.life())
        self._tasks[task] = leaf
        task.add_done_callback(self._on_end)

    def _ended(self, task: asyncio.Task[None]) -> None:
        leaf = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, Finished | Stopped):
            self._leaf_ended(leaf)
        elif self._stopping:
            self._others[self.path_of(leaf)] = error
            self._leaf_ended(leaf)
        else:
            self._failed(leaf, error)

    def _failed(self, leaf: Component, error: BaseException) -> None:
        path = self.path_of(leaf)
        wait = None
        if leaf.restart is not None:
            failures = self._failures.get(leaf)
            if failures is None:
                failures = self._failures[leaf] = Failures(leaf.restart)
            wait = failures.failed(asyncio.get_running_loop().time())
        if wait is not None:
            log.warning(
                "component %s failed and starts again in %.2f s", path, wait, exc_info=error
            )
            self._lay_back(leaf)
            timer = asyncio.get_running_loop().call_later(wait, self._restart, leaf)
            self._waiting[leaf] = timer
            return
        failure = ComponentFailedError(path, error, self._others)
        failure.__cause__ = error
        self.failure = failure
        self.stop()
        self._leaf_ended(leaf)

    def _lay_back(self, leaf: Component) -> None:
        assert leaf.restart is not None
        if leaf.restart.item == "again":
            for box in self.boxes_of(leaf).values():
                box.put_back_last()
        elif leaf._hand is not None:
            leaf._hand.release()

    def _restart(self, leaf: Component) -> None:
        del self._waiting[leaf]
        self._spawn(leaf)

    def _leaf_ended(self, leaf: Component) -> None:
        if not self._stopping and leaf._hand is not None:
            leaf._hand.release()
        for outlets in self.outlets_of(leaf).values():
            for outlet in outlets:
                outlet.producer_finished()
        for box in self.boxes_of(leaf).values():
            if box not in self._outside:
                self.left += len(box.stop())
        self._living.discard(leaf)
        self._active -= not leaf.passive
        leaf.withdraw()
        if not self._living:
            self._over.set_result(None)
        elif self._active == 0 and not leaf.passive:
            self.finish()
        else:
            self.look_at_rings()

    def failures_of(self, leaf: Component) -> int:
        """Return how often ``leaf`` has failed and was started again."""
        failures = self._failures.get(leaf)
        return failures.count if failures is not None else 0
