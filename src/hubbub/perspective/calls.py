"""The table of one session's calls: each runs once, and its result is kept until the user has it (PE4; sans-I/O).

Theory of operation
===================

Ids grow. A call is in the table from its arrival until the client has acknowledged its result:

    new --arrive--> running --finish--> done --settle--> gone

    in the table, running      a repeat waits for the first run
    in the table, done         a repeat gets the stored result
    refused                    too many calls: it never ran, and a repeat is told the same
    any other id up to the     expired: finished and acknowledged, or given up by the client; it never runs
    highest one seen

The client repeats its unanswered calls in the order of their ids, and before any new one, when it has resumed under a
new epoch. So a call acknowledges every done one below it that was not repeated: that is how results find an end whose
acknowledgement was lost with the host. Results that were sent ahead of a `Lagged` count as taken in (*presumed*) when
the client shows, by an acknowledgement or cursor of the new epoch, that it has read the `Lagged`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from heapq import heappop, heappush

import msgspec

from hubbub.kernel import Limits, LocalProtocolError, RemoteProtocolError
from hubbub.wire.session import Failure

FLOOD = 10
"""So many times the limit of calls are refused one by one; who goes on is cut off."""


class StoredResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Outcome of a call as it is stored in the call's own commit: ``value`` in the session's form, or ``failure``."""

    tid: str = ""
    value: bytes | None = None
    failure: Failure | None = None


class Verdict(Enum):
    """What has to be done with a call that has arrived."""

    RUN = auto()
    WAIT = auto()  # it runs already
    REPEAT = auto()  # it is done: give its result again
    TOO_MANY = auto()
    EXPIRED = auto()


class CallTable:
    """Know which calls run, which are done and which are past.

    Attributes:
        pruned_to: All calls up to this id are finished and acknowledged.

    Args:
        limits: ``max_calls`` and ``backlog_bytes`` bound what is kept.
    """

    __slots__ = (
        "_bytes",
        "_calls",
        "_limits",
        "_open",
        "_presumed",
        "_refused",
        "_seen",
        "_unclaimed",
        "pruned_to",
    )

    def __init__(self, limits: Limits) -> None:
        self.pruned_to = 0
        self._limits = limits
        self._calls: dict[int, StoredResult | None] = {}  # None: running
        self._refused: dict[int, None] = {}
        self._open: list[int] = []  # heap of ids that may be in one of the two
        self._seen = 0
        self._bytes = 0
        self._unclaimed: list[int] = []  # done, and not repeated in this epoch; descending
        self._presumed: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def ids(self) -> list[int]:
        """Return the ids of calls that run, or whose results are not acknowledged."""
        return list(self._calls)

    def restore(self, results: Mapping[int, StoredResult], pruned_to: int) -> None:
        """Take in what was stored, before anything else."""
        for call_id in sorted(results):
            if call_id > pruned_to:
                self._calls[call_id] = results[call_id]
                self._bytes += len(results[call_id].value or b"")
                self._open.append(call_id)
        self.pruned_to = self._seen = pruned_to

    def arrive(self, call_id: int) -> tuple[Verdict, list[int]]:
        """Take in that the client has sent call ``call_id``.

        Returns:
            What to do, and the calls that this one acknowledges.

        Raises:
            RemoteProtocolError: Calls without end; code ``flood``. Nothing has changed.
        """
        calls = self._calls
        is_known = call_id in calls
        is_new = call_id > self._seen and not is_known
        if is_new and len(self._refused) >= FLOOD * self._limits.max_calls:
            raise RemoteProtocolError("calls without end, and none acknowledged", code="flood")
        gone = self._claim(call_id) if self._unclaimed else []
        if call_id > self._seen:
            self._seen = call_id
        if is_known:
            self._presumed.pop(call_id, None)
            return (Verdict.WAIT if calls[call_id] is None else Verdict.REPEAT), gone
        if is_new:
            heappush(self._open, call_id)
            limits = self._limits
            if len(calls) >= limits.max_calls or self._bytes > limits.backlog_bytes:
                self._refused[call_id] = None
                return Verdict.TOO_MANY, gone
            calls[call_id] = None
            return Verdict.RUN, gone
        return (Verdict.TOO_MANY if call_id in self._refused else Verdict.EXPIRED), gone

    def is_running(self, call_id: int) -> bool:
        """Tell whether this call has begun and not finished."""
        return call_id in self._calls and self._calls[call_id] is None

    def stored(self, call_id: int) -> StoredResult:
        """Return the result of a call that is done."""
        stored = self._calls[call_id]
        assert stored is not None
        return stored

    def finish(self, call_id: int, result: StoredResult) -> None:
        """Keep the outcome of a running call.

        Raises:
            LocalProtocolError: If no such call is running. Nothing has changed.
        """
        if self._calls.get(call_id, result) is not None:
            raise LocalProtocolError(f"there is no running call {call_id}")
        self._calls[call_id] = result
        if result.value is not None:
            self._bytes += len(result.value)

    def settle(self, call_ids: Iterable[int]) -> list[int]:
        """Let go of calls whose results the client has; return those that were still kept."""
        calls, refused, open_ids = self._calls, self._refused, self._open
        gone: list[int] = []
        for call_id in call_ids:
            stored = calls.get(call_id)
            if stored is not None:
                gone.append(call_id)
                del calls[call_id]
                if stored.value is not None:
                    self._bytes -= len(stored.value)
                if call_id > self._seen:
                    self._seen = call_id
            if refused:
                refused.pop(call_id, None)
        while open_ids and open_ids[0] not in calls and open_ids[0] not in refused:
            heappop(open_ids)
        # Not past what was seen: after a restart lower ids may still be on their way to be repeated.
        lowest = open_ids[0] - 1 if open_ids else self._seen
        self.pruned_to = max(self.pruned_to, min(lowest, self._seen))
        return gone

    def presume(self, call_ids: Iterable[int]) -> None:
        """Note that these results were sent ahead of a `Lagged`."""
        self._presumed.update(dict.fromkeys(call_ids))

    def take_presumed(self) -> list[int]:
        """The client has read the `Lagged`: return, once, the calls whose results it must have read before."""
        if not self._presumed:
            return []
        presumed = sorted(self._presumed)
        self._presumed.clear()
        return presumed

    def begin_again(self) -> None:
        """A new epoch: the client will repeat what it has no answer for."""
        self._presumed.clear()
        done = (call_id for call_id, stored in self._calls.items() if stored is not None)
        self._unclaimed = sorted(done, reverse=True)

    def _claim(self, call_id: int) -> list[int]:
        """Take in that the client, repeating its calls in order, is at ``call_id`` now."""
        settled: list[int] = []
        while self._unclaimed and self._unclaimed[-1] < call_id:
            settled.append(self._unclaimed.pop())
        if self._unclaimed and self._unclaimed[-1] == call_id:
            self._unclaimed.pop()
        return self.settle(settled)
