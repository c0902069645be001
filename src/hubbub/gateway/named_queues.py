"""Sessions of plain HTTP clients that poll a stream: each waits, with its bounded backlog, for the next poll (PE5)."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from hubbub.gateway.carriers import Connections
from hubbub.gateway.plain_session import PlainSession


class NamedQueues:
    """Keep sessions between polls for ``grace_s`` seconds. Each counts as a connection of its address (PE7)."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._kept: dict[Hashable, tuple[PlainSession, asyncio.TimerHandle, Connections, str]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: Hashable) -> PlainSession | None:
        """Return the session that waits under ``key``, for one poll; None if there is none."""
        entry = self._kept.pop(key, None)
        if entry is None:
            return None
        session, alarm, connections, address = entry
        alarm.cancel()
        connections.leave(address)
        return session

    def put_back(
        self, key: Hashable, session: PlainSession, connections: Connections, address: str
    ) -> None:
        """Keep ``session`` for the next poll. One that another poll has put there is closed.

        Raises:
            LimitError: If its address has too many; the session is closed.
        """
        former = self.take(key)
        if former is not None:
            former.close()
        try:
            connections.enter(address)
        except BaseException:
            session.close()
            raise
        alarm = asyncio.get_running_loop().call_later(self._grace_s, self._drop, key)
        self._kept[key] = (session, alarm, connections, address)

    def _drop(self, key: Hashable) -> None:
        session = self.take(key)
        if session is not None:
            session.close()
