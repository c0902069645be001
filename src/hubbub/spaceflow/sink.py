"""A space as the end of a graph: each item is stored exactly once.

Theory of operation
===================

An item that comes tracked carries its sender's `Position`: who, which number, and the floor below which nothing comes
again. The sink writes the items of a batch and their numbers in *one* transaction, and lets go of the items when that
is durable. So after a crash at any moment either both are there or neither, and what is sent again is skipped::

    sender --number 7--> ... --> sink: [ write(root, items) + "7 is stored" ] --durable--> released --> sender knows
                                                                   crash here: 7 comes again, and is skipped

An item may become several on its way: each is one *part* of its number, counted in the order in which they arrive. For
that to mean the same the next time, what lies between the sender and the sink has to make the same parts in the same
order again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.flow import Component, GraphError, Token, Tracked, box
from hubbub.flow.declaring import Boxes
from hubbub.flow.tracking import Position
from hubbub.spaceflow.place import Where, place_of
from hubbub.spaceflow.positions import Arrival, store_once

BATCH = 100


class SpaceSink(Component):
    """Write items to a space, a batch in one transaction, each item once.

    >>> def store(root, readings):
    ...     root.setdefault("readings", Log()).extend(readings)
    >>> Pipeline(SingleServer(1500, acked=True), SpaceSink("readings.hub", store, name="readings"))

    While one batch is being stored, the next fills up. What comes without a position (it is not tracked, or by a sender
    that numbers nothing) is stored as often as it comes.

    Args:
        space: A URL or path, an open space, or the hub of this process.
        write: Called as ``write(root, items)`` in a transaction. It may be called again after a conflict, so it
            touches nothing but the space.
        name: Tells this sink from others of the same space; the same after a restart.
        batch: Items of a transaction at most, and of the inbox.
        per_item: Call ``write(root, item)`` for each item instead.
        token: For a URL: what the host asks of its peers.

    Attributes:
        stored: How many items it has stored.
        skipped: How many came again and were skipped.

    Raises:
        GraphError: If ``space``, ``name`` or ``batch`` makes no sense.
    """

    outboxes: Boxes = {
        "outbox": box("each item, once it is stored; again if it comes again", loose=True)
    }

    def __init__(
        self,
        space: Where,
        write: Callable[[Any, Any], Any],
        *,
        name: str,
        batch: int = BATCH,
        per_item: bool = False,
        token: str = "",
    ) -> None:
        if not name:
            raise GraphError("a SpaceSink needs a name, the same after a restart")
        self.inboxes: Boxes = {"inbox": box("what to store", items=batch)}
        self._place = place_of(space, token)
        self._write = write
        self._name = name
        self._per_item = per_item
        self._parts: dict[Token, int] = {}
        self.stored = 0
        self.skipped = 0

    def provide(self) -> None:
        """See that no other sink of this name is in the graph: each would take the other's parts for its own.

        Graphs of their own, such as those of connections, may each have one: what one sender sends goes to one of them.

        Raises:
            GraphError: If there is one.
        """
        for other in self.running.leaves():
            if isinstance(other, SpaceSink) and other is not self and other._key == self._key:
                raise GraphError(
                    f"two sinks write to {self._place.name} by the name {self._name!r}: give each its own, "
                    "or let both ways lead into one"
                )

    @property
    def _key(self) -> tuple[str, str]:
        return self._place.name, self._name

    async def main(self) -> None:
        """Store what comes until there is no more.

        Raises:
            Exception: What ``write`` raises. Nothing of the batch is stored then.
            HubbubError: As the space's ``run``.
        """
        await self._place.open()
        try:
            while True:
                await self._store(await self.inbox.take())
        finally:
            await self._place.close()

    async def _store(self, taken: list[Any]) -> None:
        try:
            counted = dict(self._parts)
            arrivals = [self._arrival(item, counted) for item in taken]
            new = await self._place.run(
                store_once, self._name, arrivals, self._write, self._per_item
            )
        except Exception:
            self._give_back(taken)
            raise
        self.stored += new
        self.skipped += len(taken) - new
        if self.outlets():
            await self.send_all(
                [
                    Tracked(item.item, item.tokens) if type(item) is Tracked else item
                    for item in taken
                ]
            )
        for item in taken:
            if type(item) is Tracked:
                item.release()
        self._parts = {token: part for token, part in counted.items() if not token.handled}

    def _arrival(self, item: Any, counted: dict[Token, int]) -> Arrival:
        if type(item) is not Tracked:
            return Arrival(item, None, 1)
        tokens = [token for token in item.tokens if isinstance(token.position, Position)]
        if not tokens:
            return Arrival(item.item, None, 1)
        if len(tokens) > 1:
            raise GraphError(
                f"an item stems from {len(tokens)} numbered ones: what is sent again after a crash may be put together "
                "otherwise, so it can't be stored exactly once. Let the sink make the batches: SpaceSink(batch=...)"
            )
        token = tokens[0]
        counted[token] = part = counted.get(token, 0) + 1
        return Arrival(item.item, token.position, part)

    def _give_back(self, taken: list[Any]) -> None:
        """What becomes of a batch that was not stored: as the policy says; without one it stays unhandled."""
        if self.restart is None or self.restart.item == "again":
            self.inbox.put_back(taken)
            return
        for item in taken:
            if type(item) is Tracked:
                item.release()
