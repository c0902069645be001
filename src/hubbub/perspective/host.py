"""The host: owns the space, runs every body in one serial order, and releases what they sent when it is durable.

Theory of operation
===================

Three threads. The *loop* has sessions, sockets and timers. The *serial* thread (`serial.py`) runs bodies beside the
objects. The *writer* (`hubbub.store.queue`) makes commits durable in groups.

    loop:   run(body, done) --------.                                     .--> done(value), notices sent
    serial:                   body runs, commit appended --put-.          |
    writer:                                          write + fsync --settled--.
    serial:                                                       absorb, live queries run --> loop: answers

Commits of peers have no body, and where it is cheaper the loop does all of that itself (`applying.py`).

Whatever a body leads to, an error included, leaves as the context of a commit through the queue, so that nothing that
depends on a commit gets out before that commit is durable (ST2). The serial thread is told of a settled group before
the loop is, so a user who has read a result and asks again sees at least that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hubbub.kernel import (
    Changeset,
    Clock,
    ClosedError,
    Commit,
    HubbubError,
    Label,
    Limits,
    ReservedError,
    Row,
    SystemClock,
    Tid,
)
from hubbub.perspective.applying import Application, Applying, Finishing, Voting, tellable
from hubbub.perspective.live_query import LiveQueries, Update
from hubbub.perspective.put_back import PutBack
from hubbub.perspective.serial import SerialThread
from hubbub.space import dev
from hubbub.space.connection import Connection
from hubbub.space.containers import merge_records, rebase
from hubbub.space.live import LiveSpace
from hubbub.store.base import Store
from hubbub.store.ledger import Ledger
from hubbub.store.queue import CommitQueue, Settled

log = logging.getLogger("hubbub.host")

_LOOK_AT_VOTES_S = 0.5

Done = Callable[["Outcome"], None]


def _ignore(_: Any) -> None:
    """Nobody listens."""


class Outcome:
    """How a body ended, given to its ``done`` in the loop when it may be told.

    Attributes:
        value: What the body returned; None if it failed.
        error: What it raised, or why it could not be stored; None if it went well.
        commit: Its commit; None if it failed or was a query.
        tid: The tid of its commit, or that its answer is for.
    """

    __slots__ = ("commit", "error", "tid", "value")

    def __init__(
        self,
        value: Any = None,
        error: BaseException | None = None,
        commit: Commit | None = None,
        tid: int = 0,
    ) -> None:
        self.value = value
        self.error = error
        self.commit = commit
        self.tid = tid


class _Waiting:
    """Context of a commit: whom to tell, and what; and the spare rows that went with it."""

    __slots__ = ("done", "error", "spare", "value")

    def __init__(
        self, done: Done | None, value: Any = None, error: BaseException | None = None
    ) -> None:
        self.done = done
        self.value = value
        self.error = error
        self.spare: Sequence[Row] = ()


class _Command(_Waiting):
    """A body on its way through the serial order: the task that runs it, and then the context of its commit."""

    __slots__ = ("body", "durable", "host", "label", "session", "what")

    def __init__(
        self,
        host: Host,
        body: Callable[[Connection], Any],
        done: Done | None,
        label: Label,
        what: object,
        session: Any,
        durable: bool,
    ) -> None:
        # Not by the class above: a call for each command.
        self.done = done
        self.value = None
        self.error = None
        self.spare = ()
        self.host = host
        self.body = body
        self.label = label
        self.what = what
        self.session = session
        self.durable = durable

    def __call__(self) -> None:
        self.host._execute(self)


class Host:
    """Run bodies, release outcomes, keep queries live. Its public methods belong to the loop's thread.

    Attributes:
        spare_rows: Rows whose writing is in no hurry; they go with the next durable commit.
        holds: Return oids that are held though the root may not lead there. Called in any thread.

    Args:
        store: An open store; the host closes it.
        clock: For tids and timers.
        release: Called in the loop with each settled commit in commit order, before its ``done``; sends its notices.
        dev_mode: Raise `BlockingError` where a body blocks (PE8).
        limits: What live queries may cost.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        release: Callable[[Commit], None] = _ignore,
        deliver: Callable[[list[Update]], None] = _ignore,
        dev_mode: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self.ledger = Ledger(store, self.clock, merge_records, rebase)
        self.live = LiveSpace(self.ledger, dev_mode=dev_mode)
        self.serial = SerialThread()
        self.queue = CommitQueue(store, self._settled)
        self.queries = LiveQueries(
            self.live,
            self._deliver_updates,
            self.serial.begin_body,
            self.serial.end_body,
            limits,
        )
        self._put_back = PutBack(self.serial)
        self.ledger.votes.on_over = self._put_back.vote_is_over
        self._vote_timer: asyncio.TimerHandle | None = None
        self._applying = Applying(
            self.live, self.queue, self._put, self._nothing, self._tell_settled, self._put_back.add
        )
        self.holds: list[Callable[[], Iterable[int]]] = []
        self._untold: deque[Settled] = deque()
        self._release = release
        self._deliver = deliver
        self._listeners: list[Callable[[Sequence[Commit]], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._failed = False
        self._closing = False
        self.spare_rows: dict[tuple[str, bytes], bytes | None] = {}
        self._lost_rows: list[Row] = []
        if dev_mode:
            dev.install()

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run bodies; call it in the loop."""
        self._loop = asyncio.get_running_loop()
        self.serial.start(self._loop.call_soon, self._applying.at_turn_end)
        self._watch_bodies()

    async def close(self) -> None:
        """Finish what was begun, make it durable, and close the store. Idempotent."""
        if self._closing:
            return
        self._closing = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._vote_timer is not None:
            self._vote_timer.cancel()
        loop = asyncio.get_running_loop()
        self.serial.submit(self._put_back.give_up)
        await loop.run_in_executor(None, self.serial.close)
        await loop.run_in_executor(None, self.queue.close)
        # What settled last is on its way to the loop: let it arrive.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.store.close()

    def on_settled(self, listener: Callable[[Sequence[Commit]], None]) -> None:
        """Call ``listener`` in the loop with each group of settled commits, before their outcomes are told."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[Sequence[Commit]], None]) -> None:
        """Undo `on_settled`."""
        self._listeners.remove(listener)

    @property
    def is_closing(self) -> bool:
        """Whether it is about to go away, or gone."""
        return self._closing

    @property
    def is_at_rest(self) -> bool:
        """Whether neither the serial thread nor the writer does anything."""
        return self.serial.is_asleep and not self.queue.is_busy

    # --- running bodies (loop) ----------------------------------------------------------------------------------------

    def run(
        self,
        body: Callable[[Connection], Any],
        done: Done | None,
        label: Label,
        *,
        what: object = "",
        session: Any = None,
        durable: bool = True,
    ) -> None:
        """Run ``body`` as a command in the serial order; ``done`` is told its outcome when it is durable.

        Args:
            body: Runs in the serial thread.
            done: Called in the loop.
            label: Who and what.
            what: For the log of slow bodies; the label's command without it.
            session: On whose behalf.
            durable: False refuses to store records.
        """
        if self._closing:
            self._tell(done, _shutting_down())
            return
        self.serial.submit(
            _Command(self, body, done, label, what or label.command, session, durable)
        )

    def ask(
        self,
        body: Callable[[Connection], Any],
        done: Done,
        *,
        what: object = "query",
        session: Any = None,
    ) -> None:
        """Run ``body`` as a query on what is durable; ``done`` is told its outcome in the loop."""
        if self._closing:
            self._tell(done, _shutting_down())
            return

        def task() -> None:
            self.serial.begin_body(what)
            try:
                value, _, tid = self.live.query(body, session=session)
                outcome = Outcome(value, tid=tid)
            except BaseException as error:  # noqa: BLE001 - the application's code; told to the caller
                outcome = Outcome(error=tellable(error), tid=self.ledger.absorbed_tid)
            finally:
                self.serial.end_body()
            self._call_loop(self._tell, done, outcome)

        self.serial.submit(task)

    def apply(self, changeset: Changeset, done_keys: Sequence[bytes], done: Done) -> None:
        """Commit a peer's changeset; ``done`` gets its tid and, as value, the oids that were merged."""
        if self._closing:
            self._tell(done, _shutting_down())
            return

        self.serial.submit(Application(self._applying, changeset, done_keys, _Waiting(done)))

    def vote(self, changeset: Changeset, done: Done) -> None:
        """Have a peer's changeset vote; ``done`` gets the `hubbub.store.votes.Vote` as value."""
        if self._closing:
            self._tell(done, _shutting_down())
            return

        def voted(outcome: Outcome) -> None:
            if self._vote_timer is None:
                self._look_at_votes()
            done(outcome)

        self.serial.submit(Voting(self._applying, changeset, (), _Waiting(voted)))

    def finish(self, number: int, key: bytes, done_keys: Sequence[bytes], done: Done) -> None:
        """Store what has voted; as `apply`. ``key`` makes a repeat harmless."""
        if self._closing:
            self._tell(done, _shutting_down())
            return
        self.serial.submit(Finishing(self._applying, number, key, done_keys, _Waiting(done)))

    def drop_vote(self, number: int) -> None:
        """Give a vote up."""
        if not self._closing:
            self.serial.submit(lambda: self._drop_vote(number))

    def _drop_vote(self, number: int) -> None:
        self.ledger.votes.drop(number)

    def _look_at_votes(self) -> None:
        """Give votes up whose time is over, as long as there are some."""
        self._vote_timer = None
        if self.ledger.votes.open and self._loop is not None and not self._closing:
            self.serial.control(self.ledger.drop_late_votes)
            self._vote_timer = self._loop.call_later(_LOOK_AT_VOTES_S, self._look_at_votes)

    async def call(
        self, body: Callable[[Connection], Any], label: Label, *, session: Any = None
    ) -> Any:
        """Run ``body`` as a command and wait until it is durable. Raises what it raised."""
        return await self._awaited(lambda done: self.run(body, done, label, session=session))

    async def read(self, body: Callable[[Connection], Any], *, session: Any = None) -> Any:
        """Run ``body`` as a query and wait for its value. Raises what it raised."""
        return await self._awaited(lambda done: self.ask(body, done, session=session))

    async def _awaited(self, begin: Callable[[Done], None]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.done():
                return
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.value)

        begin(done)
        return await future

    # --- serial thread ------------------------------------------------------------------------------------------------

    def _execute(self, command: _Command) -> None:
        began = self.serial.begin_body(command.what)
        try:
            value, commit = self.live.execute(
                command.body, command.label, session=command.session, durable=command.durable
            )
        except BaseException as error:  # noqa: BLE001 - the application's code; told to the caller
            if isinstance(error, ReservedError) and self._put_back.add(command):
                return
            command.error = tellable(error)
            self._put_nothing(command)
            return
        finally:
            self.serial.end_body()
        command.value = value
        commit.context = command
        commit.began = began
        if self.spare_rows and commit.is_durable:
            spare: list[Row] = []
            while self.spare_rows:
                (kind, key), row = self.spare_rows.popitem()
                spare.append((kind, key, row))
            command.spare = spare
            # In front: what the commit itself says of a row is newer.
            commit.rows = [*spare, *commit.rows]
        self._put(commit)

    def _put_nothing(self, waiting: _Waiting) -> None:
        """Send an outcome on its way behind the commits that it may have seen (ST2)."""
        self._put(self._nothing(waiting))

    def _nothing(self, waiting: _Waiting) -> Commit:
        return Commit(Tid(self.ledger.last_tid), Label(), context=waiting)

    def _put(self, commit: Commit) -> None:
        # Nobody waits to run: write here, and save the hand-over to the writer's thread and back.
        idle = self.serial.is_idle
        self.queue.put(commit, wake=not idle)
        if idle:
            self.queue.drive()

    def _absorb(self) -> None:
        commits = self.live.absorb()
        if commits and len(self.queries):
            self.queries.committed(commits)

    def _roll_back(self) -> None:
        self.live.roll_back()
        self._absorb()
        # It returns when every part of this failure has been told, so none of them rolls back once more.
        self.queue.resume()
        lost, self._lost_rows = self._lost_rows, []
        for kind, key, row in lost:
            self.spare_rows.setdefault((kind, key), row)
        self._failed = False

    # --- whoever has written ------------------------------------------------------------------------------------------

    def _settled(self, settled: Settled) -> None:
        is_in_loop = self.serial.is_taken_over
        if settled.error is None:
            self.ledger.settle(settled.commits)
            if is_in_loop and not len(self.queries):
                self._absorb()
            else:
                self.serial.control(self._absorb)
        else:
            for commit in settled.commits:
                self._lost_rows += commit.context.spare
            if not self._failed:
                self._failed = True
                log.error("commits could not be stored: %s", settled.error)
                self.serial.control(self._roll_back)
        self._untold.append(settled)
        if is_in_loop:
            return
        # Nothing runs again for it: taking it in is quick, and the loop is better woken behind that.
        if len(self.queries) or not self.serial.defer(lambda: self._call_loop(self._tell_settled)):
            self._call_loop(self._tell_settled)

    def _deliver_updates(self, updates: list[Update]) -> None:
        self._call_loop(self._deliver, updates)

    def _call_loop(self, fn: Callable[..., None], *args: Any) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(fn, *args)

    # --- loop ---------------------------------------------------------------------------------------------------------

    def _tell_settled(self) -> None:
        """Tell what has settled, in order: who comes later finds nothing left to tell."""
        while self._untold:
            self._tell_all(self._untold.popleft())

    def _tell_all(self, settled: Settled) -> None:
        error = settled.error
        if error is None:
            for listener in list(self._listeners):
                _guarded("following the commits", listener, settled.commits)
        for commit in settled.commits:
            waiting: _Waiting = commit.context
            if error is not None:
                self._tell(waiting.done, Outcome(error=error))
                continue
            if commit.notices or commit.ephemerals:
                _guarded("releasing what a commit sends", self._release, commit)
            if waiting.done is not None:
                if waiting.error is not None:
                    self._tell(waiting.done, Outcome(error=waiting.error, tid=commit.tid))
                else:
                    self._tell(waiting.done, Outcome(waiting.value, None, commit, commit.tid))

    def _tell(self, done: Done | None, outcome: Outcome) -> None:
        if done is None:
            if outcome.error is not None and not isinstance(outcome.error, HubbubError):
                log.error("a body that nobody waits for failed", exc_info=outcome.error)
            return
        try:
            done(outcome)
        except Exception:
            log.exception("telling the outcome of a body failed")

    def _watch_bodies(self) -> None:
        self.serial.report_slow()
        if self._loop is not None and not self._closing:
            self._watchdog = self._loop.call_later(0.05, self._watch_bodies)


def _shutting_down() -> Outcome:
    return Outcome(error=ClosedError("the host is shutting down; try again soon"))


def _guarded(doing: str, fn: Callable[[Any], None], what: Any) -> None:
    """Call ``fn``; who waits behind it is told whatever becomes of it."""
    try:
        fn(what)
    except Exception:
        log.exception("%s failed", doing)
