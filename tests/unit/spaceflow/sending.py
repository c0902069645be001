"""A sender that numbers its items, sends again what was not handled, and stays when everything else dies."""

from __future__ import annotations

from typing import Any

from hubbub.flow import Component, Token
from hubbub.flow.tracking import Position


class Sender:
    """What survives on the other side: items, and which of them are known to be handled."""

    def __init__(self, items: list[Any], origin: str = "a") -> None:
        self.items = items
        self.origin = origin
        self.handled: set[int] = set()
        self._floor = 0

    @property
    def floor(self) -> int:
        while self._floor in self.handled:
            self._floor += 1
        return self._floor

    @property
    def is_done(self) -> bool:
        return self.floor == len(self.items)

    def forget(self, first: int = 0) -> None:
        """Lose the acknowledgements of the items from ``first`` on."""
        self.handled = {number for number in self.handled if number < first}
        self._floor = min(self._floor, first)

    def source(self, *, order: list[int] | None = None) -> Component:
        """Return a component that sends all that is not handled yet, or just what is asked for."""
        return _Source(self, order)


class _Source(Component):
    inboxes = {}

    def __init__(self, sender: Sender, order: list[int] | None) -> None:
        self._sender = sender
        self._order = order

    async def main(self) -> None:
        sender = self._sender
        order = self._order
        if order is None:
            order = [n for n in range(len(sender.items)) if n not in sender.handled]
        for number in order:
            token = Token(self._handled, Position(sender.origin, number, sender.floor))
            self.track().resume((token,))
            await self.send(sender.items[number])
            self.track().release()

    def _handled(self, token: Token) -> None:
        self._sender.handled.add(token.position.number)
