"""The two transactions of a session: the one that begins it and the one that ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hubbub.kernel import ConfigurationError, LimitError, Row, companion_oid, is_ephemeral
from hubbub.perspective.avatar import Avatar, LiveSession, SessionEntry, SessionList
from hubbub.perspective.notices import EndSessionNotice
from hubbub.perspective.realm import Realm
from hubbub.perspective.seat import Seat
from hubbub.perspective.stored_sessions import CALL, call_key, session_row
from hubbub.space import context
from hubbub.space.connection import Connection
from hubbub.space.live import LiveSpace


def login_body(
    realm: Realm, seat: Seat, detached: frozenset[str]
) -> Callable[[Connection], tuple[int, type]]:
    """Return the body that makes the avatar of ``seat``, finds room for the session and tells the avatar.

    Args:
        realm: Gives the avatar.
        seat: For whom.
        detached: Sessions without a carrier: they give way where ``max_sessions`` would turn their own user away.
    """
    identity, face = seat.identity, seat.face

    def body(connection: Connection) -> tuple[int, type]:
        transaction = context.required("a login")
        avatar = realm.request_avatar(connection.root, identity)
        if not isinstance(avatar, Avatar):
            raise ConfigurationError(
                f"{type(realm).__qualname__}.request_avatar returned {type(avatar).__qualname__}, not an Avatar"
            )
        oid = connection.add(avatar)
        # Known before this is durable: what is committed right behind it may end the session.
        seat.avatar_oid, seat.avatar_class = oid, type(avatar)
        if seat.transient:
            return oid, type(avatar)
        box = connection.companion(avatar, SessionList)
        entries, leaving = _make_room(type(avatar), box.entries, detached)
        for entry in leaving:
            transaction.notices.append(EndSessionNotice(entry.id, "replaced"))
        box.entries = (*entries, SessionEntry(seat.id, face.has_mind))
        avatar.connected(face)
        if seat.stored is not None:
            transaction.rows.append(session_row(seat.id, seat.stored))
        return oid, type(avatar)

    return body


def _make_room(
    cls: type[Avatar], entries: tuple[SessionEntry, ...], detached: Iterable[str]
) -> tuple[list[SessionEntry], list[SessionEntry]]:
    """Return the sessions that stay beside a new one and those that have to go."""
    limit = cls.max_sessions
    if limit is None or len(entries) < limit:
        return list(entries), []
    may_go = [e for e in entries if cls.on_limit == "replace" or e.id in detached]
    leaving = may_go[: len(entries) - limit + 1]
    if len(entries) - len(leaving) >= limit:
        raise LimitError(
            f"there can be {limit} session{'s' * (limit != 1)} at a time; end another one first",
            code="too_many_sessions",
        )
    return [e for e in entries if e not in leaving], leaving


def logout_body(
    seat: Seat, call_ids: list[int], timers: list[int], *, plain: bool = False
) -> Callable[[Connection], list[int]]:
    """Return the body that takes the session of ``seat`` out of everything and tells the avatar.

    It returns the oids of ephemeral objects that nobody can reach any more, the avatar's list of sessions first.

    Args:
        seat: Whose session has ended.
        call_ids: Calls whose stored results are deleted.
        timers: Its timers.
        plain: Tell the avatar nothing and store nothing.
    """
    presences = list(seat.presences)

    def body(connection: Connection) -> list[int]:
        transaction = context.required("a logout")
        avatar = connection.get(seat.avatar_oid)
        for oid in presences:
            connection.get(oid).forget_session(seat.id)
        box = connection.companion(avatar, SessionList)
        if not seat.transient:
            box.entries = tuple(e for e in box.entries if e.id != seat.id)
        if not (seat.transient or plain):
            avatar.disconnected(LiveSession(seat.id, seat.identity, seat.face.has_mind))
            rows: list[Row] = [session_row(seat.id, None)]
            rows += [(CALL, call_key(seat.id, call_id), None) for call_id in call_ids]
            transaction.rows.extend(rows)
        if box.entries:
            return []
        gone = [companion_oid(seat.avatar_oid), *timers]
        if is_ephemeral(seat.avatar_oid):
            gone.append(seat.avatar_oid)
        return gone

    return body


def forget_avatar(live: LiveSpace, gone: list[int], tid: int) -> None:
    """Forget what `logout_body` has returned, once that is durable. Serial thread.

    Args:
        live: The host's space.
        gone: What it returned.
        tid: Its tid: an avatar that has got a new session since then stays.
    """
    if gone and live.newest_tid(gone[0]) <= tid:
        live.forget_ephemerals(gone)
