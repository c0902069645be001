"""How long a space keeps its past, and what it holds: pack, verify, count."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hubbub.kernel import ConfigurationError, Duration, Job, Tid, seconds_of, tid_at
from hubbub.mount.base import Mount
from hubbub.store.base import Damage, PackReport, StoreStats


class Keeping:
    """What a `Space` offers for its upkeep."""

    _mount: Mount

    @property
    def retention(self) -> float | None:
        """For how many seconds the space declares to keep its past; None if it declares nothing."""
        return self._mount.upkeep.retention()

    def declare_retention(self, keep: Duration | None) -> None:
        """Declare for how long the space keeps its past, durably. Nothing is packed yet.

        Args:
            keep: Such as ``30d``, or seconds; None takes a declaration back.

        Raises:
            ConfigurationError: If ``keep`` is no length of time.
            HubbubError: As `Mount.commit`.
        """
        self._mount.upkeep.declare_retention(None if keep is None else seconds_of(keep))

    def pack(
        self,
        before: int | None = None,
        *,
        keep: Duration | None = None,
        collect: bool = True,
        force: bool = False,
        job: Job | None = None,
    ) -> PackReport:
        """Drop the past that is not kept any more, and objects that the root can't reach, while the space is in use.

        What a snapshot that is open may still read stays: `PackReport.tid` says how far it went. Transactions up to
        there can't be undone any more, and what was before can't be read.

        Args:
            before: Keep what can be read at this tid or later. Without it and ``keep``: as far as the declared
                retention allows; all of the past if nothing is declared.
            keep: Keep what could be read this long ago or later, such as ``30d``.
            collect: Collect what the root can't reach.
            force: Go beyond the declared retention.
            job: For progress, and to stop it: what was dropped by then is gone, and all is consistent.

        Raises:
            ConfigurationError: Both ``before`` and ``keep`` are given; or they go beyond the declared retention, and it
                is not forced. Nothing was dropped.
            JobStoppedError: It was stopped.
            HubbubError: As `hubbub.store.Store.pack`.
        """
        if keep is not None:
            if before is not None:
                raise ConfigurationError("give before= or keep=, not both: each says how far to go")
            before = Tid(tid_at(max(time.time() - seconds_of(keep), 0.0)))
        return self._mount.upkeep.pack(before, collect=collect, force=force, job=job)

    def verify(self, job: Job | None = None) -> Iterator[Damage]:
        """Read all there is, and yield what is wrong with it: nothing in a sound space. Others may work meanwhile.

        Raises:
            JobStoppedError: It was stopped.
            StoreError: A pack or another verification is running.
        """
        return self._mount.upkeep.verify(job)

    def count(self) -> StoreStats:
        """Return how much the space holds. On a large one it takes its time."""
        return self._mount.upkeep.stats()
