"""The desk: takes what sessions ask for, finds the declared thing, and has it run (PE1).

A user reaches only what is declared: commands, queries, streams and actions of the avatar, commands and views of
objects that the avatar's queries hand out. Arguments are checked against their annotations before a body runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Any

import persistent

from hubbub.flow import Backplane
from hubbub.kernel import HubbubError, Label, NotAllowedError
from hubbub.perspective.actions import run_action
from hubbub.perspective.declarations import Declaration
from hubbub.perspective.encoding import encode
from hubbub.perspective.failures import failure_of
from hubbub.perspective.host import Host, Outcome
from hubbub.perspective.live_query import Update
from hubbub.perspective.mind_calls import MindCalls
from hubbub.perspective.new_answer import NewAnswer
from hubbub.perspective.seat import Seat
from hubbub.perspective.stored_sessions import CALL, session_row
from hubbub.perspective.streams import close_stream, open_stream, source_of
from hubbub.perspective.user_call import UserCall, declared
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.wire import session as wire

log = logging.getLogger("hubbub.desk")

_CALLABLE = frozenset({"command", "query", "view"})
_OWN = _CALLABLE | {"action"}
_COMMAND = frozenset({"command"})
_TOO_MANY_LOOKUPS = wire.Failure(
    "limit", "too_many_watches", "more watches are being opened than may be; wait for their answers"
)
_WATCHABLE = frozenset({"query", "view"})


class Desk:
    """Serve the sessions of one host. Belongs to the loop.

    Args:
        host: Runs the bodies.
        backplane: Where `hubbub.publish` sends.
        seats: Session id -> seat; kept by the portal.
        on_bye: Called when a user logs out.
    """

    def __init__(
        self,
        host: Host,
        backplane: Backplane,
        seats: dict[str, Seat],
        on_bye: Callable[[Seat], None],
    ) -> None:
        self.host = host
        self.backplane = backplane
        self.minds = MindCalls()
        self._seats = seats
        self._on_bye = on_bye
        host.holds.append(self._held_oids)

    def _held_oids(self) -> list[int]:
        """Return the oids of what users have references to: a pack keeps it. Any thread."""
        return [oid for seat in list(self._seats.values()) for oid in seat.held_oids()]

    # --- what sessions ask (the Desk protocol of `session.py`) --------------------------------------------------------

    def call(self, session: Any, message: wire.Call) -> None:
        """Run a command, query or action once."""
        seat = self._seats[session.id]
        call = UserCall(seat, message.id)
        if message.target or message.ref:
            self._call_on_target(call, message)
            return
        try:
            declaration = call.check(
                seat.avatar_class, message.name, _OWN, message.args, message.kwargs
            )
            label = call.label() if declaration.kind == "command" else None
        except Exception as error:  # noqa: BLE001 - a struct's own check may raise anything; told to the caller
            call.done(Outcome(error=error))
            return
        if label is not None:
            self.host.run(
                call.command,
                call.done,
                label,
                what=declaration,
                session=seat.face,
                durable=declaration.options.durable,
            )
        elif declaration.kind == "action":
            self._start_action(call)
        else:
            self.host.ask(call.query, call.done, what=declaration, session=seat.face)

    def _start_action(self, call: UserCall) -> None:
        seat = call.seat
        task = asyncio.get_running_loop().create_task(
            run_action(self, seat, call.declaration, call.args, call.kwargs, call.done)
        )
        seat.actions[call.id] = task
        task.add_done_callback(lambda _: seat.actions.pop(call.id, None))

    def _call_on_target(self, call: UserCall, message: wire.Call) -> None:
        """Call something of an object that a query hands out. What it is shows only when the query has been run: first
        as a query; if it turns out to be a command, then in the serial order."""
        seat = call.seat
        form = seat.session.form

        def check(connection: Connection, kinds: frozenset[str]) -> tuple[Any, type]:
            obj, cls = self._resolve(seat, message.target, message.ref, connection, form)
            declaration = declared(cls, message.name, kinds)
            if declaration.kind == "command":
                _caller_may(declaration, seat)
            call.check(cls, message.name, kinds, message.args, message.kwargs)
            return obj, cls

        def look(connection: Connection) -> bytes:
            obj, _ = check(connection, _CALLABLE)
            if call.declaration.kind == "command":
                return b""
            value = call.declaration.function(obj, *call.args, **call.kwargs)
            return encode(value, form, seat.reference)

        def looked(outcome: Outcome) -> None:
            if outcome.error is not None or call.declaration.kind != "command":
                call.done(outcome)
            elif not seat.ended:  # nothing of a session that is over runs any more
                self.host.run(
                    body,
                    call.done,
                    Label(seat.identity.id, seat.avatar_class.__qualname__, message.name),
                    what=call.declaration,
                    session=seat.face,
                    durable=call.declaration.options.durable,
                )

        def body(connection: Connection) -> bytes:
            obj, cls = check(connection, _COMMAND)
            context.required("a command").label = call.label(cls)
            args = call.args
            if call.declaration.caller is not None:
                args = (seat.avatar(connection), *args)
            value = call.declaration.function(obj, *args, **call.kwargs)
            return call.keep(encode(value, form, seat.reference))

        self.host.ask(look, looked, what=message.name, session=seat.face)

    def _resolve(
        self, seat: Seat, target: list[wire.Step], ref: int, connection: Connection, form: str
    ) -> tuple[Any, type]:
        """Return the object at the end of a path of queries, and its class. Serial thread."""
        obj: Any = seat.referenced(ref, connection) if ref else seat.avatar(connection)
        for step in target:
            declaration = declared(type(obj), step.name, _WATCHABLE)
            args, kwargs = declaration.arguments.decode(form, step.args, step.kwargs)
            obj = declaration.function(obj, *args, **kwargs)
            if not isinstance(obj, persistent.Persistent):
                raise NotAllowedError(
                    f"{step.name} does not hand out a reference, so nothing of it can be called",
                    code="not_a_reference",
                )
        return obj, type(obj)

    def watch(self, session: Any, message: wire.Watch) -> None:
        """Keep a query or view answered, or open a stream."""
        seat = self._seats[session.id]
        form = session.form
        watcher = (seat.id, message.id)
        if seat.lookups >= session.limits.max_watches:
            session.end(message.id, _TOO_MANY_LOOKUPS)
            return
        seat.lookups += 1
        token = seat.watching[message.id] = object()

        def look(
            connection: Connection,
        ) -> tuple[Declaration, int, tuple[Any, ...], dict[str, Any], bytes, Any]:
            obj, cls = self._resolve(seat, message.target, message.ref, connection, form)
            declaration = declared(cls, message.name, _WATCHABLE | {"stream"})
            args, kwargs = declaration.arguments.decode(form, message.args, message.kwargs)
            source, key = None, b""
            if declaration.kind == "stream":
                source = source_of(declaration, obj, args, kwargs)
            else:
                key = declaration.arguments.encode(args, kwargs)
            oid = connection.add(obj) if obj._p_jar is None else _oid(obj)
            return declaration, oid, args, kwargs, key, source

        def looked(outcome: Outcome) -> None:
            seat.lookups -= 1
            if seat.ended or seat.watching.get(message.id) is not token:
                return  # it was left meanwhile; its number may be another watch's now
            del seat.watching[message.id]
            if outcome.error is not None:
                what = f"watch of {message.name} by {seat.identity.id}"
                session.end(message.id, failure_of(outcome.error, what))
                return
            declaration, oid, args, kwargs, arguments, source = outcome.value
            if declaration.kind == "stream":
                open_stream(self.backplane, seat, message.id, declaration, source)
                return
            if not session.is_open(message.id):
                return
            key: Hashable = (oid, declaration.name, arguments)
            if declaration.kind == "query":
                # A query's answer may depend on the caller; sessions of one avatar share it.
                key = (seat.avatar_oid, key)

            def body(connection: Connection) -> Any:
                return declaration.function(connection.get(oid), *args, **kwargs)

            what = f"live {declaration.kind} {declaration.name}"
            queries = self.host.queries
            self.host.serial.submit(lambda: queries.watch(watcher, form, key, what, body))

        self.host.ask(look, looked, what=f"watch {message.name}", session=seat.face)

    def refresh(self, session: Any, watch_id: int) -> None:
        """Give the whole newest answer of a watch again."""
        queries = self.host.queries
        watcher = (str(session.id), watch_id)
        self.host.serial.submit(lambda: queries.refresh(watcher))

    def unwatch(self, session: Any, watch_id: int) -> None:
        """End a watch or stream."""
        seat = self._seats.get(session.id)
        if seat is not None:
            seat.watching.pop(watch_id, None)
            if close_stream(seat, watch_id):
                return
        queries = self.host.queries
        watcher = (str(session.id), watch_id)
        self.host.serial.submit(lambda: queries.unwatch(watcher))

    def cancel(self, session: Any, call_id: int) -> None:
        """Cancel an action; what else has begun goes on."""
        seat = self._seats[session.id]
        task = seat.actions.get(call_id)
        if task is not None:
            task.cancel()

    def reply(self, session: Any, mind_id: int, value: Any, failure: wire.Failure | None) -> None:
        """The mind has answered, or will not."""
        seat = self._seats.get(session.id)
        if seat is not None:
            self.minds.answered(seat, mind_id, value, failure)

    def pruned(self, session: Any, call_ids: list[int], pruned_to: int) -> None:
        """The client has these results: their rows are deleted with the next durable commit of anybody."""
        seat = self._seats.get(session.id)
        if seat is None or seat.transient or seat.stored is None:
            return
        spare = self.host.spare_rows
        for call_id in call_ids:
            spare[CALL, seat.call_key(call_id)] = None
        if pruned_to > seat.stored.pruned_to:
            seat.stored.pruned_to = pruned_to
            kind, key, value = session_row(session.id, seat.stored)
            spare[kind, key] = value

    def bye(self, session: Any) -> None:
        """The user logs out."""
        seat = self._seats.get(session.id)
        if seat is not None:
            self._on_bye(seat)

    # --- what the host sends ------------------------------------------------------------------------------------------

    def deliver(self, updates: list[Update]) -> None:
        """Give new answers to their sessions."""
        seats = self._seats
        for update in updates:
            failure = update.failure
            told: dict[tuple[int, str], NewAnswer] = {}
            new, new_id, new_form = None, 0, ""
            for session_id, watch_id in update.watchers:
                seat = seats.get(session_id)
                if seat is None:
                    continue
                session = seat.session
                if failure is not None:
                    session.end(watch_id, failure)
                    continue
                # Pages of one kind have the same numbers for what they watch: most often it is as the one before.
                if new is None or watch_id != new_id or session.form != new_form:
                    new_id, new_form = watch_id, session.form
                    new = told.get((new_id, new_form))
                    if new is None:
                        new = told[new_id, new_form] = update.told_as(new_id, new_form)
                session.answer(new)

    def call_mind(
        self,
        session_id: str,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> asyncio.Future[Any]:
        """Call a user's mind; returns what its answer comes in (see `RemoteMind.call`)."""
        return self.minds.call(self._seats.get(session_id), method, args, kwargs, timeout_s)

    def call_minds(
        self,
        session_ids: tuple[str, ...],
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None,
    ) -> list[asyncio.Future[Any] | HubbubError]:
        """Call several users' minds; returns what their answers come in, or why there will be none."""
        seats = [self._seats.get(session_id) for session_id in session_ids]
        return self.minds.call_all(seats, method, args, kwargs, timeout_s)


def _caller_may(declaration: Declaration, seat: Seat) -> None:
    caller = declaration.caller
    if caller is not None and not issubclass(seat.avatar_class, caller):
        raise NotAllowedError(
            f"{declaration.name} is for {caller.__name__}, not for you", code="wrong_avatar"
        )


def _oid(obj: Any) -> int:
    return int.from_bytes(obj._p_oid, "big")
