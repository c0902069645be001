"""How a mount talks to its host: over one link at a time, by whichever thread waits.

Theory of operation
===================

There is no thread and no loop here. Whoever waits reads for all (`hubbub.mount.turn`); messages are taken in under one
lock, in the order of the wire (`hubbub.mount.replica`). What was used lately is read without that lock
(`RecordCache.recent`), and most of what a walk along references needs comes before it is asked for
(`hubbub.mount.ahead`).

    CONNECTED --link breaks--> BROKEN --one who waits dials--> CONNECTED     what was in flight is sent again
        |                        '--nobody answers--> BROKEN                 (back-off with jitter)
        '--the host says no----> FAILED                                     every call raises its reason
    any --close--> CLOSED

* A load in flight is repeated. A commit in flight is repeated with the same key: the host answers a repeat with the
  first outcome, also after its restart. Without the host for too long, a load is a `BrokenError`, a commit that has
  been sent is an `OutcomeUnknownError`.
* `begin` on a broken link waits for a new one, and Mounted comes first on that: nothing stale is served.
* Silence: who leads pings after a heartbeat without a word, and after another one gives the link up. With nobody
  waiting nobody listens; `begin` then makes a round trip if the last word is old.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hubbub.kernel import (
    BrokenError,
    ClosedError,
    HubbubError,
    Job,
    OutcomeUnknownError,
    Record,
    RemoteProtocolError,
)
from hubbub.mount.base import MountStats
from hubbub.mount.calls import Call, Calls
from hubbub.mount.dialling import Dialler, opening_s
from hubbub.mount.link import LOOK_S, Bell, Link
from hubbub.mount.replica import Replica
from hubbub.mount.turn import Turn, Waiter
from hubbub.wire import peer
from hubbub.wire.frames import frame

_LOOK_AT_JOB_S = 0.2
"""So often who waits for a long job looks whether it is to be stopped."""
_LOOK_FOR_COMMIT_S = 0.00035
"""As `LOOK_S`, for an answer that waits for a disk."""


class Conversation:
    """Ask a host, and keep what it tells. Any thread. The base of `RemoteMount`.

    Args:
        dialler: Makes what dials; given what ends its pauses.
        cache_bytes: Bytes of records that are kept.
        wait_timeout_s: How long to wait for a host that is gone.
    """

    def __init__(
        self, dialler: Callable[[Bell], Dialler], cache_bytes: int, wait_timeout_s: float
    ) -> None:
        self._wait_timeout_s = wait_timeout_s
        self._lock = threading.Lock()
        self._bell = Bell()
        self._turn = Turn(self._lock, self._lap, self._bell.ring)
        self._stats = MountStats()
        self._dialler = dialler(self._bell)
        self._replica = Replica(cache_bytes)
        self._link: Link | None = None
        self._dead: list[Link] = []
        self._fatal: HubbubError | None = None
        self._is_closed = False
        self._calls = Calls(
            lambda: str(self._dialler.address),
            self._replica,
            self._turn,
            self._stats,
            self._dialler.retry_after,
        )

    def _connect(self) -> None:
        """Connect for the first time. Raises as `Dialler.dial`."""
        try:
            link, mounted = self._dialler.dial("", 0, opening_s(self._wait_timeout_s))
        except BaseException:
            self._bell.close()
            raise
        self._install(link, mounted)

    # --- asking -------------------------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._fatal is not None

    def _check(self) -> None:
        if self._is_closed:
            raise ClosedError("the space is closed")
        if self._fatal is not None:
            raise self._fatal

    def _ask(self, message: Any, writes: Sequence[Record] = ()) -> Any:
        """Send ``message``, as often as it takes, and return its answer."""
        started = time.monotonic()
        with self._lock:
            self._check()
            link = self._link
            call = self._calls.add(message, writes, None if link is None else link.max_bytes)
            leads = link is not None and self._turn.take(call.waiter)
        try:
            if link is not None:
                self._send(link, call.data)
                if leads and self._lead_once(link, call):
                    return call.answer
            self._turn.wait(
                call.waiter,
                lambda: call.is_over or self._is_over,
                lambda: self._patience(started),
            )
        finally:
            if call.answer is None:
                with self._lock:
                    self._turn.leave(call.waiter)
                    self._calls.leave(call)
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _ask_all(self, messages: Iterable[Any], ahead: int = 4) -> Iterator[Any]:
        """Send ``messages`` and yield their answers in order; up to ``ahead`` of them are on their way at a time."""
        calls: deque[Call] = deque()
        started = time.monotonic()
        try:
            for message in messages:
                with self._lock:
                    self._check()
                    link = self._link
                    call = self._calls.add(message, (), None if link is None else link.max_bytes)
                    calls.append(call)
                if link is not None:
                    self._send(link, call.data)
                if len(calls) > ahead:
                    yield self._answer_of(calls[0], started)
                    calls.popleft()
            while calls:
                yield self._answer_of(calls[0], started)
                calls.popleft()
        finally:
            with self._lock:
                for call in calls:
                    self._calls.leave(call)

    def _answer_of(self, call: Call, started: float) -> Any:
        self._turn.wait(
            call.waiter,
            lambda: call.is_over or self._is_over,
            lambda: self._patience(started),
        )
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _ask_job(self, message: peer.Ask, job: Job) -> Any:
        """As `_ask`, for a long job: tell how far it is, and have it stopped if ``job`` is."""
        job.step(message.method, 0)
        started = time.monotonic()
        with self._lock:
            self._check()
            link = self._link
            call = self._calls.add(message, (), None if link is None else link.max_bytes)
            call.is_job = True
        if link is not None:
            self._send(link, call.data)
        is_stopping = False
        try:
            while not (call.is_over or self._is_over):
                look_at = time.monotonic() + _LOOK_AT_JOB_S
                patience = self._patience(started)
                if patience is not None and patience < time.monotonic():
                    break
                self._turn.wait(
                    call.waiter,
                    lambda: call.is_over or self._is_over or call.progress is not None,
                    lambda: look_at,  # noqa: B023 - called within this lap
                )
                with self._lock:
                    progress, call.progress = call.progress, None
                if job.is_stopped:
                    if not is_stopping:
                        self._tell(peer.StopJob(message.id))
                    is_stopping = True
                elif progress is not None:
                    job.step(progress.what, progress.done, progress.total)
        except BaseException:
            # What tells of the progress has failed: nobody waits for the job any more.
            self._tell(peer.StopJob(message.id))
            raise
        finally:
            if not call.is_over:
                with self._lock:
                    self._calls.leave(call)
        if call.error is not None:
            raise call.error
        if call.answer is None:
            self._give_up(call)
        return call.answer

    def _tell(self, message: Any) -> None:
        """Send a message that has no answer, if there is a connection."""
        with self._lock:
            link = None if self._is_over else self._link
        if link is not None:
            self._send(link, frame(peer.encode(message)))

    def _lead_once(self, link: Link, call: Call) -> bool:
        """Have the turn until something comes. Most often that is the answer, and the turn is given back: then True."""
        link.poll(link.heartbeat_s, _LOOK_FOR_COMMIT_S if call.writes else LOOK_S)
        with self._lock:
            self._take_in(link)
            if call.answer is None:
                return False
            self._turn.leave(call.waiter)
        return True

    def _patience(self, started: float) -> float | None:
        if self._link is not None:
            return None
        return max(started, self._dialler.broken_at) + self._wait_timeout_s

    def _give_up(self, call: Call) -> None:
        if self._is_closed:
            why: HubbubError = ClosedError("the space was closed meanwhile")
        elif self._fatal is not None:
            why = self._fatal
        else:
            why = BrokenError(self._dialler.complaint())
        if call.writes and call.sends:
            raise OutcomeUnknownError(
                f"a commit was sent and its answer did not arrive: it may be stored or not ({why})"
            ) from why
        raise why

    def _send(self, link: Link, data: bytes) -> None:
        try:
            link.send(data, lambda: self._take_in_for_sender(link))
        except OSError as error:
            with self._lock:
                self._lose(link, error)

    def _take_in_for_sender(self, link: Link) -> None:
        with self._lock:
            self._take_in(link)

    # --- the turn -----------------------------------------------------------------------------------------------------

    def _lap(self, remaining_s: float | None) -> None:
        """Wait for the host, or dial. Whoever has the turn."""
        with self._lock:
            link = self._link
            dead, self._dead = self._dead, []
        for old in dead:
            old.close()
        if self._is_over:
            return
        if link is None:
            self._dial(remaining_s)
            return
        due_s = self._keep_alive(link)
        link.poll(due_s if remaining_s is None else min(due_s, remaining_s))
        with self._lock:
            self._take_in(link)

    def _keep_alive(self, link: Link) -> float:
        now = time.monotonic()
        if link.pinged_at is None:
            quiet_s = now - link.received_at
            if quiet_s < link.heartbeat_s:
                return link.heartbeat_s - quiet_s
            link.pinged_at = now
            self._send(link, frame(peer.encode(peer.Ping(0))))
        remaining_s = link.pinged_at + link.heartbeat_s - now if link.pinged_at else 0.0
        if remaining_s <= 0 and link.pinged_at is not None:
            with self._lock:
                self._lose(link, TimeoutError(f"silent for {2 * link.heartbeat_s:.0f} s"))
        return max(0.0, remaining_s)

    def _dial(self, remaining_s: float | None) -> None:
        try:
            made = self._dialler.dial_again(self._replica.epoch, self._replica.newest, remaining_s)
        except HubbubError as error:
            with self._lock:
                self._fatal = error
                self._forget()
                self._turn.wake_all()
            return
        if made is not None:
            self._install(*made)

    def _install(self, link: Link, mounted: peer.Mounted) -> None:
        with self._lock:
            if self._is_closed:
                link.close()
                return
            self._stats.reconnects += bool(self._replica.epoch)
            self._link = link
            self._replica.mounted(mounted)
            again = self._calls.again()
            self._take_in(link)
            self._calls.news()
            self._turn.wake_all()
        for call in again:
            if not call.is_over:
                self._send(link, call.data)

    def _forget(self) -> None:
        """Keep nothing at hand, so that whoever wants something hears that this is over."""
        self._replica.cache.clear()
        self._replica.oids.clear()

    def _lose(self, link: Link, why: Exception) -> None:
        """Note that ``link`` is broken. With the lock held."""
        if self._link is not link:
            return
        self._link = None
        self._dialler.lost(link, why)
        self._stats.bytes_in += link.bytes_in
        self._stats.bytes_out += link.bytes_out
        link.shut()
        if self._turn.is_taken:
            self._dead.append(link)  # its poller may be at work
        else:
            link.close()
        self._turn.wake_all()

    def _take_in(self, link: Link) -> bool:
        """Apply what has arrived; tells whether there was anything. Never waits."""
        if self._link is not link:
            return False
        try:
            messages = link.receive()
            self._calls.apply(messages)
        except (OSError, RemoteProtocolError) as error:
            self._lose(link, error)
            return False
        except BaseException:
            # Such as Ctrl-C: what had arrived is lost, and another link tells it again.
            self._lose(link, ConnectionAbortedError("interrupted while news were taken in"))
            raise
        return bool(messages) and self._link is link

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._forget()
            if self._link is not None:
                self._lose(self._link, ClosedError("closed"))
            self._turn.wake_all()
        # Once this thread had the turn, nobody polls the sockets any more.
        self._turn.wait(Waiter(), lambda: not self._turn.is_taken, lambda: None)
        with self._lock:
            self._bell.close()
            dead, self._dead = self._dead, []
        for old in dead:
            old.close()
