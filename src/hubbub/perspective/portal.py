"""The portal: logs users in, lets them resume, and ends their sessions.

Theory of operation
===================

    Hello --checker--> identity --serial order: realm's avatar, max_sessions, connected()--> LIVE
    LIVE --carrier lost--> DETACHED --resumed in time--> LIVE
                               '--grace time over, or log-out--> ENDED: disconnected(), rows deleted
    host restarted: DORMANT (its row) --resumed in time--> serial order again --> LIVE, new epoch

Checking credentials is off the serial order; making the avatar is a command of its own. A session's row is stored in
the commit that begins it, so whoever has been welcomed can resume (PE6). A session that is only detached gives way
where ``max_sessions`` would turn its own user away; a dormant one does not count at all.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from hubbub.flow import Backplane
from hubbub.kernel import (
    AccessError,
    ClosedError,
    Commit,
    DiskFullError,
    HubbubError,
    Label,
    LimitError,
    LoginFailedError,
    NotAllowedError,
    Refused,
    RemoteProtocolError,
)
from hubbub.kernel.limits import Limits
from hubbub.perspective.alarms import Alarm, Alarms, LoopAlarms
from hubbub.perspective.calls import StoredResult
from hubbub.perspective.checkers import Anonymous, FunctionChecker, LoginRequest, Passwords
from hubbub.perspective.coming_and_going import forget_avatar, login_body, logout_body
from hubbub.perspective.desk import Desk
from hubbub.perspective.host import Host, Outcome
from hubbub.perspective.identity import Identity
from hubbub.perspective.live_query import Update
from hubbub.perspective.parties import Carrier
from hubbub.perspective.realm import Realm
from hubbub.perspective.releasing import Releases
from hubbub.perspective.seat import Seat
from hubbub.perspective.session import Due, Session
from hubbub.perspective.stored_sessions import (
    CALL,
    StoredCall,
    StoredSession,
    call_key,
    hash_secret,
    is_secret,
    load_sessions,
    session_row,
)
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.portal")

SESSIONS_PER_CONNECTION = 4
"""So many sessions an address may have for each connection that it may have: most may wait out their grace time."""

SWEEP_S = 1.0
"""How often sessions are looked at whose grace time may be over."""


class _Dormant:
    """A stored session that nobody has resumed since the host began."""

    __slots__ = ("alarm", "calls", "stored")

    def __init__(self, stored: StoredSession, calls: dict[int, StoredCall], alarm: Alarm) -> None:
        self.stored = stored
        self.calls = calls
        self.alarm = alarm


class Portal:
    """Log users in and out. Belongs to the loop.

    Args:
        realm: Gives avatars.
        checkers: Vouch for users.
        limits: What outsiders may ask for.
        alarms: For grace times and timers.
    """

    def __init__(
        self,
        realm: Realm,
        checkers: Sequence[Any],
        limits: Limits | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        self.realm = realm
        self.limits = limits or Limits()
        self.backplane = Backplane("hub")
        self._checkers = {checker.name: checker for checker in checkers}
        self._alarms: Alarms = alarms or LoopAlarms()
        self._seats: dict[str, Seat] = {}
        self._dormant: dict[str, _Dormant] = {}
        self._sweeping: Alarm | None = None
        self._epoch = secrets.token_hex(4)
        self._draining = False
        self.host: Host
        self.desk: Desk
        self._releases: Releases

    def start(self, host: Host) -> None:
        """Begin to serve on ``host``, with the sessions that its store remembers."""
        self.host = host
        self.desk = Desk(host, self.backplane, self._seats, lambda seat: self.end(seat, "bye"))
        self._releases = Releases(host, self.backplane, self._seats, self._alarms, self.end)
        stored, orphans = load_sessions(host.store)
        for kind, key, value in orphans:
            host.spare_rows[kind, key] = value
        for session_id, (session, calls) in stored.items():
            self._sleep(session_id, session, calls)
        self._sweep()

    def _sleep(self, session_id: str, stored: StoredSession, calls: dict[int, StoredCall]) -> None:
        """Keep a stored session for as long as its user may resume it."""
        alarm = self._alarms.call_later(
            self.limits.grace_s, functools.partial(self._expire_dormant, session_id)
        )
        self._dormant[session_id] = _Dormant(stored, calls, alarm)

    @property
    def sessions(self) -> list[Session]:
        """All live and detached sessions."""
        return [seat.session for seat in self._seats.values()]

    # --- logging in ---------------------------------------------------------------------------------------------------

    async def open(
        self,
        hello: wire.Hello,
        form: str,
        address: str,
        carrier: Carrier,
        *,
        transient: bool = False,
        request: Any = None,
    ) -> tuple[Session, wire.Welcome]:
        """Log in or resume, and attach ``carrier``.

        Args:
            hello: The client's first message.
            form: ``json`` or ``msgpack``.
            address: Where the connection comes from.
            carrier: Its transport.
            transient: A plain call: nothing is stored of the session, and `Avatar.connected` is not called.
            request: The web request that it came with, for the application's own checkers.

        Raises:
            LoginFailedError: The credentials are not accepted.
            NotAllowedError: No such session to resume; code ``session_lost``.
            LimitError: Too many sessions.
            Refused: The application's realm says no.
        """
        if self._draining:
            raise ClosedError("the host is shutting down; try again soon")
        if hello.protocol != wire.PROTOCOL:
            raise RemoteProtocolError(
                f"this host speaks version {wire.PROTOCOL} of the session protocol, "
                f"the client {hello.protocol}",
                code="wrong_version",
            )
        if hello.session:
            return await self._resume(hello, form, carrier)
        if len(self._seats) >= self.limits.max_sessions:
            raise LimitError(
                "this host has as many sessions as it takes; try later", code="host_full"
            )
        self._check_room_for(address)
        checker, identity = await self._vouched_for(hello, address, request)
        secret = secrets.token_urlsafe(24)
        stored = StoredSession(
            identity.id,
            identity.name,
            hash_secret(secret),
            form,
            hello.mind,
            checker.name,
            claims=dict(identity.claims),
            address=address,
        )
        seat = self._new_seat(secrets.token_hex(8), secret, identity, stored, transient=transient)
        entering = asyncio.get_running_loop().create_task(self._enter(seat, checker))
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The client has gone. What was begun comes to its end, and is undone: nobody knows its secret.
            entering.add_done_callback(functools.partial(self._left_at_the_door, seat))
            raise
        seat.session.attach(carrier, "")
        seat.entered = True
        seat.set_ready()
        return seat.session, self._welcome(seat.session, resumed=False)

    def _left_at_the_door(self, seat: Seat, entering: asyncio.Task[None]) -> None:
        if not entering.cancelled() and entering.exception() is None:
            self.end(seat, "ended")

    async def _enter(self, seat: Seat, checker: Any) -> None:
        try:
            await self._take_seat(seat, "login")
        except BaseException:
            checker.released(seat.identity)
            raise

    def find(self, session_id: str, secret: str) -> Session:
        """Return the session that a request of its own names.

        Raises:
            NotAllowedError: If there is none, or the secret is another; code ``session_lost``.
        """
        seat = self._seats.get(session_id)
        if seat is None or not secrets.compare_digest(
            seat.session.secret.encode(), secret.encode()
        ):
            raise _session_lost()
        return seat.session

    def attach(self, session: Session, carrier: Carrier, cursor: str) -> bool:
        """Give a session a new carrier that continues after ``cursor``. False: it begins a new epoch."""
        return session.attach(carrier, cursor)

    def _sweep(self) -> None:
        """End sessions whose grace time is over."""
        now = self.host.clock.now()
        self._sweeping = self._alarms.call_later(SWEEP_S, self._sweep)
        for seat in list(self._seats.values()):
            if seat.session.due(now) is Due.EXPIRED:
                try:
                    self.end(seat, "grace")
                except Exception:
                    log.exception("ending session %s failed", seat.id)

    def _check_room_for(self, address: str) -> None:
        """One address can't have all the sessions there are (PE7)."""
        most = SESSIONS_PER_CONNECTION * self.limits.max_connections_per_address
        if address and len(self._seats) >= most:
            of_it = sum(seat.address == address for seat in self._seats.values())
            if of_it >= most:
                raise LimitError(
                    f"there are {of_it} sessions from {address}; log out of some, or wait until they are forgotten",
                    code="too_many_sessions",
                )

    async def _vouched_for(
        self, hello: wire.Hello, address: str, request: Any
    ) -> tuple[Any, Identity]:
        """Return the checker that accepts the user, and whom it vouches for.

        A checker that the client names, or that its credentials are for, has the last word. Else the application's own
        functions are asked in order, then the anonymous one.
        """
        candidates = self._candidates(hello)
        for checker in candidates[:-1]:
            try:
                return checker, await self._check(checker, hello, address, request)
            except LoginFailedError:
                continue
        return candidates[-1], await self._check(candidates[-1], hello, address, request)

    async def _check(self, checker: Any, hello: wire.Hello, address: str, request: Any) -> Identity:
        credentials = dict(hello.credentials)
        if isinstance(checker, FunctionChecker):
            return await checker.check_request(LoginRequest(credentials, address, request))
        identity: Identity = await checker.check(credentials, address)
        return identity

    def _candidates(self, hello: wire.Hello) -> list[Any]:
        checkers = self._checkers
        own = [c for c in checkers.values() if not isinstance(c, Anonymous | Passwords)]
        found: list[Any]
        if hello.checker:
            found = [checkers[hello.checker]] if hello.checker in checkers else []
        elif "password" in hello.credentials:
            found = [c for c in checkers.values() if isinstance(c, Passwords)] or own
        elif hello.credentials.keys() - {"name", "key"}:
            found = own
        else:
            found = own + [c for c in checkers.values() if isinstance(c, Anonymous)]
            found = found or list(checkers.values())[:1]
        if not found:
            ways = ", ".join(sorted(checkers)) or "no way at all"
            raise LoginFailedError(f"this host takes logins by {ways}", code="no_such_checker")
        return found

    async def _resume(
        self, hello: wire.Hello, form: str, carrier: Carrier
    ) -> tuple[Session, wire.Welcome]:
        seat = self._seats.get(hello.session)
        if seat is None:
            dormant = self._dormant_of(hello)
            seat = self._woken(hello, dormant)
            waking = asyncio.get_running_loop().create_task(self._wake(seat, dormant))
            try:
                await asyncio.shield(waking)
            except asyncio.CancelledError:
                # This connection is lost. The session is in its grace time, for the next one.
                waking.add_done_callback(lambda _: seat.set_ready())
                raise
        elif not seat.is_ready:
            # Another connection of the same client has come first, and its avatar is being made.
            await seat.wait_ready()
            return await self._resume(hello, form, carrier)
        elif not is_secret(hello.secret, hash_secret(seat.session.secret)):
            raise _session_lost()
        try:
            if seat.session.form != form:
                raise RemoteProtocolError(
                    "a session keeps the form that it began with", code="wrong_form"
                )
            resumed = self.attach(seat.session, carrier, hello.cursor)
        finally:
            seat.set_ready()
        seat.entered = True
        return seat.session, self._welcome(seat.session, resumed=True, same_epoch=resumed)

    def _dormant_of(self, hello: wire.Hello) -> _Dormant:
        dormant = self._dormant.get(hello.session)
        if dormant is None or not is_secret(hello.secret, dormant.stored.secret_hash):
            raise _session_lost()
        return dormant

    def _woken(self, hello: wire.Hello, dormant: _Dormant) -> Seat:
        """Give a stored session its seat; there is no avatar in it before `_wake`."""
        del self._dormant[hello.session]
        dormant.alarm.cancel()
        stored = dormant.stored
        identity = Identity(stored.identity_id, stored.name, stored.claims, stored.address)
        checker = self._checkers.get(stored.checker)
        if checker is not None:
            try:
                checker.resumed(identity)
            except HubbubError:
                self._forget_stored(hello.session, dormant.calls)
                raise
        seat = self._new_seat(hello.session, hello.secret, identity, stored)
        results = {
            call_id: StoredResult(call.tid, call.value) for call_id, call in dormant.calls.items()
        }
        seat.session.restore(results, stored.pruned_to)
        self._seats[seat.id] = seat
        return seat

    async def _wake(self, seat: Seat, dormant: _Dormant) -> None:
        try:
            await self._take_seat(seat, "resume")
        except BaseException as error:
            checker = self._checkers.get(seat.checker)
            if checker is not None:
                checker.released(seat.identity)
            if isinstance(error, AccessError | Refused):
                # It can't go on: the application or a limit says no.
                self._forget_stored(seat.id, dormant.calls)
            else:
                self._sleep(seat.id, dormant.stored, dormant.calls)
            seat.set_ready()
            raise

    def _new_seat(
        self,
        session_id: str,
        secret: str,
        identity: Identity,
        stored: StoredSession,
        *,
        transient: bool = False,
    ) -> Seat:
        session = Session(
            session_id,
            secret,
            identity,
            stored.form,
            self.desk,
            self.limits,
            f"{self._epoch}{secrets.token_hex(2)}",
            mind=stored.mind,
            now=self.host.clock.now(),
        )
        seat = Seat(session, identity, stored.mind, transient=transient)
        seat.stored = None if transient else stored
        seat.checker = stored.checker
        seat.address = stored.address
        return seat

    async def _take_seat(self, seat: Seat, command: str) -> None:
        detached = frozenset(
            seat.id
            for seat in self._seats.values()
            if seat.entered and not seat.session.is_attached
        )
        label = Label(seat.identity.id, type(self.realm).__qualname__, command)
        body = login_body(self.realm, seat, detached)
        self._seats[seat.id] = seat
        try:
            await self.host.call(body, label, session=seat.face)
        except BaseException:
            self._seats.pop(seat.id, None)
            seat.ended = True
            raise

    def _welcome(self, session: Session, *, resumed: bool, same_epoch: bool = True) -> wire.Welcome:
        return wire.Welcome(
            session=session.id,
            secret=session.secret,
            cursor=session.cursor,
            resumed=resumed,
            identity=session.identity.id,
            name=session.identity.name,
            heartbeat_s=self.limits.heartbeat_s,
            grace_s=self.limits.grace_s,
            max_bytes=self.limits.max_message_bytes,
        )

    # --- logging out --------------------------------------------------------------------------------------------------

    def end(self, seat: Seat, reason: str) -> None:
        """End a session: its carrier is told, `Avatar.disconnected` runs, its rows are deleted. Idempotent."""
        if seat.ended:
            return
        seat.ended = True
        self._seats.pop(seat.id, None)
        watch_ids = seat.session.open_watches()
        timers = list(seat.timers)
        seat.drop_all()
        self.desk.minds.lose(seat)
        seat.session.close(wire.Closing(reason="ended" if reason == "bye" else reason))
        for watch_id in watch_ids:
            self.desk.unwatch(seat.session, watch_id)
        self._log_out(seat, seat.session.kept_calls(), timers, reason)
        checker = self._checkers.get(seat.checker)
        if checker is not None:
            checker.released(seat.identity)

    def _log_out(
        self,
        seat: Seat,
        call_ids: list[int],
        timers: list[int],
        reason: str,
        *,
        plain: bool = False,
    ) -> None:
        """Take a session out of the space. Whatever fails, it does not stay.

        Args:
            seat: Whose session has ended.
            call_ids: Calls whose stored results are deleted.
            timers: Its timers.
            reason: For the label.
            plain: Do not ask the avatar, store nothing: its rows go with somebody else's commit.
        """
        label = Label(seat.identity.id, seat.avatar_class.__qualname__, "logout", note=reason)
        again = functools.partial(self._log_out, seat, call_ids, timers, reason)

        def done(outcome: Outcome) -> None:
            error = outcome.error
            if error is None:
                host = self.host
                host.serial.submit(lambda: forget_avatar(host.live, outcome.value, outcome.tid))
            elif isinstance(error, ClosedError):
                pass  # its row is stored; it goes when its grace time is over
            elif isinstance(error, DiskFullError):
                self._alarms.call_later(SWEEP_S, again)
            else:
                log.error("ending session %s failed", seat.id, exc_info=error)
                if not plain:
                    if not seat.transient:
                        self._forget_stored(seat.id, call_ids)
                    again(plain=True)

        self.host.run(
            logout_body(seat, call_ids, timers, plain=plain), done, label, session=seat.face
        )

    def _expire_dormant(self, session_id: str) -> None:
        dormant = self._dormant.pop(session_id, None)
        if dormant is None:
            return
        self._forget_stored(session_id, dormant.calls)

    def _forget_stored(self, session_id: str, call_ids: Iterable[int]) -> None:
        """Delete what is stored of a session, with the next durable commit."""
        kind, key, value = session_row(session_id, None)
        self.host.spare_rows[kind, key] = value
        for call_id in call_ids:
            self.host.spare_rows[CALL, call_key(session_id, call_id)] = None

    def drain(self, retry_s: float = 0.5) -> None:
        """Take no new users and tell the present ones to come back after ``retry_s``; their sessions stay stored."""
        self._draining = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for dormant in self._dormant.values():
            dormant.alarm.cancel()
        for seat in list(self._seats.values()):
            seat.ended = True
            seat.drop_all()
            seat.session.close(wire.Closing(reason="drain", retry_s=retry_s))
        self._seats.clear()

    # --- what the host hands up ---------------------------------------------------------------------------------------

    def deliver(self, updates: list[Update]) -> None:
        """Give new answers to their sessions."""
        self.desk.deliver(updates)

    def release(self, commit: Commit) -> None:
        """Send the notices of a commit that is durable."""
        self._releases.release(commit)


def _session_lost() -> NotAllowedError:
    return NotAllowedError("there is no such session any more; log in again", code="session_lost")
