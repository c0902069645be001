"""The upkeep of a host's space: what it answers, and what a pack keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from hubbub.gateway.leases import Leases
from hubbub.kernel import Label, Row, Tid
from hubbub.perspective.host import Host
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.store.base import PackReport
from hubbub.store.snapshots import Snapshots
from hubbub.store.upkeep import StoreUpkeep

_ROWS_S = 60.0


def upkeep_of(
    host: Host,
    told: Callable[[], Tid],
    snapshots: Snapshots,
    leases: Leases,
    drop_caches: Callable[[], None],
) -> StoreUpkeep:
    """Return what answers about ``host``'s space, in any thread; in the loop.

    Args:
        host: Whose space.
        told: Returns the newest tid that peers were told.
        snapshots: Where nothing may be read any more.
        leases: Of peers; a pack keeps what they may read.
        drop_caches: Has peers drop their caches; called in the loop, when objects are gone.
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

    def packed(report: PackReport | None) -> None:
        host.ledger.forget_cached()
        if report is None or report.objects:
            loop.call_soon_threadsafe(drop_caches)

    return StoreUpkeep(
        host.store,
        told,
        snapshots=snapshots,
        roots=roots,
        on_packed=packed,
        put_rows=put_rows,
        clock=host.clock,
    )
