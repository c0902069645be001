"""Pack a host's space by itself, once an hour, where it declares for how long it keeps its past (ST7)."""

from __future__ import annotations

import asyncio
import logging

from hubbub.gateway.told import Peers
from hubbub.kernel import HubbubError, Job, JobStoppedError
from hubbub.perspective.host import Host
from hubbub.store.base import PackReport
from hubbub.store.upkeep import retention_of

log = logging.getLogger("hubbub.host")

PACK_EVERY_S = 3600.0


class HourlyPack:
    """Looks once an hour whether there is something to pack, be there peers or not. Belongs to the loop.

    Args:
        host: Whose space.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._job = Job()
        self._is_packing = False
        self._task = asyncio.get_running_loop().create_task(self._again_and_again())

    async def pack(self) -> PackReport | None:
        """Pack now, in a thread, as far as the declared retention allows.

        Returns:
            What was dropped; None if the space declares nothing, or it did not succeed: then the log says why.
        """
        self._is_packing = True
        try:
            if retention_of(self._host.store) is None:
                return None
            # A pack keeps what peers hold, and each that comes is told of it: so `Peers` has to be there.
            upkeep = Peers.of(self._host).upkeep
            loop = asyncio.get_running_loop()
            report = await loop.run_in_executor(None, lambda: upkeep.pack(job=self._job))
        except JobStoppedError:
            return None  # the host is about to go away, and the next pack goes on
        except HubbubError as error:
            log.warning("the hourly pack did not succeed: %s", error)
            return None
        finally:
            self._is_packing = False
        log.info("packed up to tid %016x: %d records gone", report.tid, report.records)
        return report

    async def close(self) -> None:
        """Stop a pack that runs, at its next step, and begin none. Idempotent."""
        self._job.stop()
        if not self._is_packing:
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _again_and_again(self) -> None:
        while not self._job.is_stopped:
            await asyncio.sleep(PACK_EVERY_S)
            await self.pack()
