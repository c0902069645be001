"""The upkeep of a host's space: what it answers, what a pack keeps, and the pack of each hour."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from hubbub.gateway.leases import Leases
from hubbub.kernel import HubbubError, Label, Row, Tid
from hubbub.perspective.host import Host
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.store.snapshots import Snapshots
from hubbub.store.upkeep import StoreUpkeep

log = logging.getLogger("hubbub.host")

PACK_EVERY_S = 3600.0
_ROWS_S = 60.0


def upkeep_of(
    host: Host, told: Callable[[], Tid], snapshots: Snapshots, leases: Leases
) -> StoreUpkeep:
    """Return what answers about ``host``'s space, in any thread; in the loop.

    Args:
        host: Whose space.
        told: Returns the newest tid that peers were told.
        snapshots: Where nothing may be read any more.
        leases: Of peers; a pack keeps what they may read.
    """
    loop = asyncio.get_running_loop()
    snapshots.add(leases)

    def put_rows(rows: Sequence[Row]) -> None:
        def body(_: Connection) -> None:
            context.required("upkeep").rows.extend(rows)

        call = host.call(body, Label(command="upkeep"))
        asyncio.run_coroutine_threadsafe(call, loop).result(_ROWS_S)

    def roots() -> list[int]:
        more: Iterable[int] = (oid for held in list(host.holds) for oid in held())
        return [*host.ledger.ephemeral_refs(), *more]

    return StoreUpkeep(
        host.store,
        told,
        snapshots=snapshots,
        roots=roots,
        on_packed=host.ledger.forget_cached,
        put_rows=put_rows,
        clock=host.clock,
    )


class HourlyPack:
    """Pack a space that declares for how long it keeps its past, once an hour, in a thread. Belongs to the loop.

    Args:
        upkeep: Of the space.
        is_closing: Tells whether the host is about to go away.
        every_s: Seconds from one to the next.
    """

    def __init__(
        self,
        upkeep: StoreUpkeep,
        is_closing: Callable[[], bool],
        every_s: float = PACK_EVERY_S,
    ) -> None:
        self._upkeep = upkeep
        self._is_closing = is_closing
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._arm()

    def _arm(self) -> None:
        if not self._loop.is_closed() and not self._is_closing():
            self._loop.call_later(self._every_s, self._begin)

    def _begin(self) -> None:
        if not self._is_closing():
            threading.Thread(target=self.pack, name="hubbub-pack", daemon=True).start()

    def pack(self) -> None:
        """Pack now, if a retention is declared; then once more after an hour. In a thread of its own."""
        try:
            if self._upkeep.retention() is not None:
                report = self._upkeep.pack()
                log.info("packed up to tid %016x: %d records gone", report.tid, report.records)
        except HubbubError as error:
            log.warning("the hourly pack did not succeed: %s", error)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arm)
