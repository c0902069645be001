"""A component: something with boxes that runs by itself.

A component knows its own boxes and nobody else's. What joins it to others is a graph (`hubbub.flow.graph`); what runs
it is a runner (`hubbub.flow.runner`). It runs once; to run again, make another.

    made  --started by a runner-->  running  --main returns-->  ended     its outboxes finish: consumers drain (FL2)
                                       |-----main raises----->  failed    its graph is taken down (FL3), or it restarts
                                       |-----finish()-------->  (sources are cancelled, others read to their end)
                                       `-----stop()---------->  ended
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Coroutine, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hubbub.flow.box import Box, BoxState, Feed
from hubbub.flow.declaring import Boxes, Declared, declared
from hubbub.flow.tracking import Hand, Token, Tracked, copies, let_go
from hubbub.flow.waiting import first_ready
from hubbub.kernel import ClosedError, GraphError, Stopped

if TYPE_CHECKING:
    from hubbub.flow.chassis import Pipeline
    from hubbub.flow.describing import Description
    from hubbub.flow.restarting import Restart
    from hubbub.flow.running import Running

T = TypeVar("T")

_TURN = 64
"""After so many items that go nowhere others run."""

_sent_nowhere = itertools.count()

Outlet = Box[Any] | Feed[Any]
"""Where a sender puts its items: a box, or a counted way into one."""

Outlets = tuple[Outlet, ...]


class Component:
    """Derive from this, declare boxes, write ``async def main``.

    >>> class Shout(Component):
    ...     async def main(self):
    ...         async for line in self.inbox:
    ...             await self.send(line.upper())

    Attributes:
        inboxes: Its inboxes: name to a line of meaning, or to what `box` returns. A component that reads nothing
            declares ``{}``.
        outboxes: Its outboxes, likewise.
        restart: What happens when it fails: None takes its graph down; see `Restart`.
        independent: Whether what comes in never comes out again of this component, as with a connection to somewhere
            else. A cycle through such a component is none.
        passive: Whether it only serves others and begins nothing by itself, as with a backplane: a graph, and a run, in
            which only such components are left comes to its end.
    """

    inboxes: Boxes = {"inbox": "what it works on"}
    outboxes: Boxes = {"outbox": "what it makes of it"}
    restart: Restart | None = None
    independent: bool = False
    passive: bool = False

    __slots__ = ("_hand", "_inbox", "_out", "_outlets", "_running", "_task")

    _inbox: Box[Any]
    _hand: Hand | None
    _out: Outlets | None
    _outlets: dict[str, Outlets] | None
    _running: Running | None
    _task: asyncio.Task[None] | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._check_main()

    @classmethod
    def _check_main(cls) -> None:
        main = cls.__dict__.get("main")
        if main is not None and not inspect.iscoroutinefunction(main):
            raise GraphError(
                f"{cls.__name__}.main has to be 'async def'; "
                "code that blocks goes into a ThreadedComponent, whose main is a plain 'def'"
            )

    def main(self) -> Coroutine[Any, Any, None] | None:
        """Do the component's work; return when it is done. To be overridden, by an ``async def``.

        Cancelled when the graph is stopped, and, in a component that reads nothing, when the graph is asked to
        finish. What it raises takes its graph down, but for ``restart``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no main")

    # -------------------------------------------------------------- for its own main

    @property
    def inbox(self) -> Box[Any]:
        """The inbox of that name.

        Raises:
            GraphError: If it has no such inbox.
            ClosedError: If the component does not run.
        """
        return self._inbox

    async def send(self, item: Any, outbox: str = "outbox") -> None:
        """Send ``item`` to whatever ``outbox`` is linked to; wait while that is full (FL1).

        Several linkages from one outbox all get it, one after the other; one whose receiver has ended counts no more
        while there are others. Cancelled while it waits, it has not sent it to the one that it waits for.

        Raises:
            GraphError: If there is no such outbox, or it is linked to nothing and not declared loose. Nothing was sent.
            BoxFullError: Where the receiving box's policy is ``fail``.
            Stopped: If the receiver has ended and reads nothing more.
        """
        boxes = self._out if outbox == "outbox" else None
        if boxes is None:
            boxes = self.outlets(outbox)
        hand = self._hand
        if hand is not None and hand.tokens:
            await self._hold(self._send_tracked((item,), hand.tokens, boxes))
            return
        target = None
        try:
            for target in boxes:
                if target.when_full != "wait" or not target.offer(item):
                    break
            else:
                if target is None:
                    await _nowhere()
                return
        except Stopped:
            pass
        assert target is not None
        await self._hold(self._send_plain((item,), boxes[boxes.index(target) :], boxes))

    async def send_all(self, items: Sequence[Any], outbox: str = "outbox") -> None:
        """Send each of ``items``, in order. Like `send` again and again, and faster.

        Items that are tracked already, as `Box.take` returns them, are handed on with their tokens.

        Raises:
            GraphError: As `send`.
            BoxFullError: As `send`; the items before it were sent.
            Stopped: As `send`; the items before it were sent.
        """
        hand = self._hand
        boxes = self.outlets(outbox)
        if hand is not None and hand.tokens:
            await self._hold(self._send_tracked(items, hand.tokens, boxes))
            return
        done = 0
        if len(boxes) == 1 and boxes[0].when_full == "wait":
            done = boxes[0].offer_all(items)
        if done < len(items) or not boxes:
            await self._hold(self._send_plain(items, boxes, boxes, done))

    async def receive(self, *inboxes: str, timeout_s: float | None = None) -> tuple[str, Any]:
        """Wait for an item in any of ``inboxes``; return the inbox's name and the item. Earlier names go first.

        Args:
            inboxes: Names; all inboxes if there is none.
            timeout_s: Seconds to wait at most, or None.

        Raises:
            TimeoutError: If nothing came in time.
            Finished: If all of them are read to their ends.
            GraphError: If there is no such inbox.
        """
        names = inboxes or tuple(self.inboxes)
        boxes = [self.box(name) for name in names]
        ready = await first_ready(boxes, timeout_s)
        return names[boxes.index(ready)], ready.get_nowait()

    def box(self, inbox: str) -> Box[Any]:
        """Return the inbox of that name.

        Raises:
            GraphError: If there is no such inbox.
            ClosedError: If the component does not run.
        """
        if inbox == "inbox":
            return self._inbox
        return self.running.box_of(self, inbox)

    def outlets(self, outbox: str = "outbox") -> Outlets:
        """Return the boxes that ``outbox`` leads to.

        Raises:
            GraphError: If there is no such outbox, or it is linked to nothing and not declared loose.
            ClosedError: If the component does not run.
        """
        if outbox == "outbox" and self._out is not None:
            return self._out
        outlets = self._outlets
        found = outlets.get(outbox) if outlets is not None else None
        if found is not None:
            return found
        raise self._refusal(outbox)

    def keep(self) -> tuple[Token, ...]:
        """Put what was read last aside, so that asking for the next item does not mean that it is handled.

        For components that keep items back. Pass what this returns to `resume` before you send what came of them.
        """
        return self._hand.keep() if self._hand is not None else ()

    def resume(self, tokens: tuple[Token, ...]) -> None:
        """Have in hand again what `keep` returned: what is sent from now on stems from it, too."""
        if tokens:
            self.track().resume(tokens)

    def launch(
        self,
        part: Any,
        *,
        inboxes: Iterable[str] = ("inbox",),
        outboxes: Iterable[str] = ("outbox",),
    ) -> Running:
        """Start ``part`` as a child, in this component's place: its boxes are passed through to it.

        What comes into these inboxes the child reads, and what it sends leaves by these outboxes; whichever it has of
        them. When it ends, what it has not read is here. Look after it: ``await child.to_its_end()`` waits for its end,
        raises its failure, and stops it if this component is cancelled.

        Args:
            part: A component, a graph, a function, an iterable.
            inboxes: Which of this component's inboxes the child takes over. Don't read them meanwhile.
            outboxes: Which of this component's outboxes are its, too.

        Raises:
            GraphError: If ``part`` can't be started. It was not.
        """
        from hubbub.flow.functions import as_component

        child = as_component(part)
        own = self.running.boxes_of(self)
        (running,) = self.running.runner.launch(
            [child],
            inboxes={name: own[name] for name in inboxes if name in own and name in child.inboxes},
            outlets={name: self.outlets(name) for name in outboxes if name in child.outboxes},
            within=self,
        )
        return running

    def activate(self) -> Self:
        """Register it for the next `run`, or start it where a runner already runs. Return it.

        Raises:
            GraphError: In a loop without a runner.
        """
        from hubbub.flow.runner import activate

        activate(self)
        return self

    def run(self) -> None:
        """Run it, and all that was activated before, to the end: see `hubbub.flow.run`."""
        from hubbub.flow.runner import run

        run(self)

    @property
    def running(self) -> Running:
        """What runs it.

        Raises:
            ClosedError: If it does not run.
        """
        if self._running is None:
            raise ClosedError(f"{self!r} does not run")
        return self._running

    # ----------------------------------------------------- for the graph that runs it

    def life(self) -> Coroutine[Any, Any, None]:
        """Return what its task runs."""
        main = self.main()
        assert main is not None  # only a ThreadedComponent's is a plain function
        return main

    def provide(self) -> None:
        """Announce what others look for by name. Called before any `prepare` of what is started together."""

    def prepare(self) -> None:
        """Get ready, without waiting, before anything of what is started together runs."""

    def withdraw(self) -> None:
        """Let go of what `provide` and `prepare` got hold of.

        Called once: when it has ended, however that came, or when what it was to be started with could not be.
        """

    def finish(self) -> None:
        """Come to a good end: called when the graph is asked to finish.

        As it stands, a component with no linked inbox is cancelled, but not before what it is just sending is sent;
        the others come to their inboxes' ends, and may send what they kept. One that goes on for ever after that
        overrides this.
        Override it, and call `Running.cancel` or end by yourself, in a component that is `independent`.
        """
        if not self.running.is_fed(self):
            self.running.cancel(self)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self.running.task_ended(self, task)

    def name_of(self, box: Box[Any]) -> str:
        """See `hubbub.flow.box.Owner`."""
        if self._running is None:
            return self.label
        names = (name for name, own in self._running.boxes_of(self).items() if own is box)
        return f"{self._running.path_of(self)}.{next(names, '?')}"

    def track(self) -> Hand:
        """See `hubbub.flow.box.Owner`."""
        if self._hand is None:
            self._hand = Hand()
        self.running.share_hand(self, self._hand)
        return self._hand

    def waits(self) -> None:
        """See `hubbub.flow.box.Owner`."""
        running = self._running
        if running is not None and (running.rings or running.within is not None):
            running.look_at_rings()

    def is_idle(self) -> bool:
        """Whether it waits for an item, and all that it has made has left it. Asked in cycles: see `rings`."""
        return any(box.is_read for box in self.running.boxes_of(self).values())

    def feeds_within(self, box: Box[Any]) -> int:
        """Return how many producers of ``box`` run in its place, beside itself. Asked in cycles."""
        return 0

    # ------------------------------------------------------------------ for building

    def declared_inboxes(self) -> dict[str, Declared]:
        """Return its inboxes, each in its full form."""
        return declared(self.inboxes)

    def declared_outboxes(self) -> dict[str, Declared]:
        """Return its outboxes, each in its full form."""
        return declared(self.outboxes)

    def __await__(self) -> Generator[Any, None, None]:
        """Run it to its end, in the runner of the surrounding code or in one of its own.

        Raises:
            ComponentFailedError: If a component failed.
            GraphError: If it can't be started.
        """
        from hubbub.flow.runner import run_to_end

        return run_to_end(self).__await__()

    def describe(self) -> Description:
        """Return what it is made of and, if it runs, how it fares: counts, queue lengths, states. Print it."""
        from hubbub.flow.describing import describe

        return describe(self)

    def svg(self, *, counts: bool = True) -> str:
        """Return a drawing as the text of an SVG file.

        Args:
            counts: Whether the linkages of a graph that runs show what has passed and what waits.
        """
        from hubbub.flow.drawing import svg

        return svg(self, counts=counts)

    @property
    def label(self) -> str:
        """How drawings and errors call it where it has no name in a graph."""
        return type(self).__name__

    def __or__(self, other: Any) -> Pipeline:
        from hubbub.flow.chassis import Pipeline

        return Pipeline(self, other)

    def __ror__(self, other: Any) -> Pipeline:
        from hubbub.flow.chassis import Pipeline

        return Pipeline(other, self)

    def __repr__(self) -> str:
        return f"<{self.label}>"

    def __getattr__(self, name: str) -> Any:
        # The slots have no value until it runs; then they are found without coming here.
        if name == "_inbox":
            if "inbox" not in self.inboxes:
                raise GraphError(f"{self!r} has no inbox 'inbox'; it has {_names(self.inboxes)}")
            raise ClosedError(f"{self!r} does not run: its boxes are there when it does")
        if name in ("_hand", "_out", "_outlets", "_running", "_task"):
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def _send_plain(
        self, items: Sequence[Any], targets: Outlets, boxes: Outlets, done: int = 0
    ) -> None:
        """Send ``items`` from ``done`` on to each of ``targets``; ``boxes`` are all that the outbox leads to."""
        several = len(targets) != 1
        for target in targets:
            given = copies(items) if several else items
            at = done
            try:
                while at < len(given):
                    at += await target.put_some(given, at)
            except Stopped:
                if all(is_stopped(other) for other in boxes):
                    raise
                let_go(given[at:])
        if several:
            let_go(items)
        if not boxes:
            await _nowhere()

    async def _send_tracked(
        self, items: Sequence[Any], tokens: tuple[Token, ...], boxes: Outlets
    ) -> None:
        """Send ``items`` that stem from what is in hand."""
        for item in items:
            for target in boxes:
                tracked = Tracked(item, tokens)
                try:
                    await target.put(tracked)
                except BaseException as error:
                    tracked.release()  # it is nowhere; the hand has it still
                    if not isinstance(error, Stopped) or all(map(is_stopped, boxes)):
                        raise
            if not boxes:
                await _nowhere()

    async def _hold(self, putting: Coroutine[Any, Any, T]) -> T:
        """Await ``putting``. Who is asked to finish meanwhile is cancelled after it, so that nothing is lost (FL2)."""
        running = self.running
        running.begins_to_send(self)
        try:
            result = await putting
        finally:
            ends = running.has_sent(self)
        if ends:
            await asyncio.sleep(0)  # where it is cancelled
        return result

    def _refusal(self, outbox: str) -> GraphError:
        if outbox not in self.outboxes:
            return GraphError(f"{self!r} has no outbox {outbox!r}; it has {_names(self.outboxes)}")
        self.running  # noqa: B018 - raises where it does not run
        return GraphError(
            f"outbox {outbox!r} of {self!r} is linked to nothing; "
            f'link it, or declare it loose: outboxes = {{"{outbox}": box("...", loose=True)}}'
        )


async def _nowhere() -> None:
    """Where a loose outbox leads that is linked to nothing. A sender who never waits lets others run all the same."""
    if next(_sent_nowhere) % _TURN == 0:
        await asyncio.sleep(0)


def is_stopped(outlet: Outlet) -> bool:
    """Whether nobody reads any more what goes in there."""
    return box_of(outlet).state is BoxState.STOPPED


def box_of(outlet: Outlet) -> Box[Any]:
    """Return the box that ``outlet`` leads into."""
    return outlet.box if isinstance(outlet, Feed) else outlet


def _names(boxes: Boxes) -> str:
    return ", ".join(repr(name) for name in boxes) or "none"


def path_in(component: Component) -> str:
    """Return the path of ``component`` in the graph that runs it."""
    running = component._running
    return running.path_of(component) if running is not None else component.label
