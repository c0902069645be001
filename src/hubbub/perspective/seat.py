"""A seat: what the host keeps beside one user's session while its avatar is in memory."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from hubbub.kernel import NotAllowedError
from hubbub.perspective.alarms import Alarm
from hubbub.perspective.avatar import LiveSession
from hubbub.perspective.identity import Identity
from hubbub.perspective.session import Session
from hubbub.perspective.stored_sessions import StoredSession, call_prefix
from hubbub.space import context
from hubbub.space.connection import Connection


class Seat:
    """One session's avatar, references, streams, timers and presence entries. Belongs to the loop, except where said.

    Attributes:
        session: The protocol's side of it.
        face: The session as application code sees it.
        avatar_oid, avatar_class: Its avatar; resolved in whichever connection runs the call.
        watching: watch id -> a mark of its own: an id may be used again while the first watch is being looked up.
        streams: stream id -> what to close.
        actions: call id -> task.
        timers: timer oid -> handle.
        presences: oids, as keys, of the presences in which it has entries.
        mind_calls: id -> what the answer of its mind comes in, and until when.
        transient: A plain HTTP call's; leaves nothing behind.
        is_ready: Whether its avatar has been made, or will not be.
        entered: Whether a client has had it since its avatar was made.
        address: Where its login came from.
        lookups: Watches that are being opened.
        stored: What is stored of the session; None for a transient one.
    """

    __slots__ = (
        "_call_prefix",
        "_handle_of",
        "_next_handle",
        "_oid_of",
        "_ready",
        "actions",
        "address",
        "avatar_class",
        "avatar_oid",
        "checker",
        "ended",
        "entered",
        "face",
        "identity",
        "is_ready",
        "lookups",
        "mind_calls",
        "next_mind_call",
        "presences",
        "session",
        "stored",
        "streams",
        "timers",
        "transient",
        "watching",
    )

    def __init__(
        self, session: Session, identity: Identity, mind: bool, *, transient: bool = False
    ) -> None:
        self.session = session
        self.identity = identity
        self.transient = transient
        self.face = LiveSession(session.id, identity, mind)
        self._call_prefix = call_prefix(session.id)
        self.stored: StoredSession | None = None
        self.checker = ""
        self.is_ready = False
        self._ready: asyncio.Event | None = None  # made only if somebody waits: it is large
        self.address = ""
        self.lookups = 0
        self.entered = False
        self.avatar_oid = 0
        self.avatar_class: type = object
        self.watching: dict[int, object] = {}
        self.streams: dict[int, Any] = {}
        self.actions: dict[int, asyncio.Task[None]] = {}
        self.timers: dict[int, Alarm | None] = {}
        self.presences: dict[int, None] = {}  # empty it takes a third of a set's room
        self.mind_calls: dict[int, tuple[asyncio.Future[Any], int]] = {}
        self.next_mind_call = 1
        self.ended = False
        # Written in the serial thread, read there too:
        self._handle_of: dict[int, int] = {}
        # A handle that a client kept over a restart must not mean another object: so they begin anywhere.
        self._next_handle = 1 + secrets.randbits(40)
        self._oid_of: dict[int, int] = {}

    @property
    def id(self) -> str:
        """The session's id."""
        return str(self.session.id)

    def call_key(self, call_id: int) -> bytes:
        """Return the key of the row that stores the result of call ``call_id``."""
        return self._call_prefix + call_id.to_bytes(8, "big")

    def set_ready(self) -> None:
        """Say that its avatar has been made, or will not be. Idempotent."""
        self.is_ready = True
        if self._ready is not None:
            self._ready.set()

    async def wait_ready(self) -> None:
        """Wait for `set_ready`."""
        if not self.is_ready:
            if self._ready is None:
                self._ready = asyncio.Event()
            await self._ready.wait()

    def avatar(self, connection: Connection) -> Any:
        """Return the avatar in ``connection``. Serial thread."""
        return connection.get(self.avatar_oid)

    def reference(self, obj: Any) -> int:
        """Return this session's number for a persistent object (never its oid). Serial thread."""
        if obj._p_jar is None:
            transaction = context.current()
            if transaction is None or transaction.read_only:
                raise NotAllowedError(
                    "a reference to an object that is not stored can't be handed out"
                )
            # Made by this command: it gets its oid a moment before the commit would give it one.
            transaction.connection.add(obj)
        oid = obj._p_jar.add(obj)
        handle = self._handle_of.get(oid)
        if handle is None:
            handle = self._handle_of[oid] = self._next_handle
            self._next_handle += 1
            self._oid_of[handle] = oid
        return handle

    def held_oids(self) -> list[int]:
        """Return the oids of the objects that the user has references to. Any thread."""
        return list(self._oid_of.values())

    def referenced(self, handle: int, connection: Connection) -> Any:
        """Return the object that `reference` gave ``handle`` for. Serial thread.

        Raises:
            NotAllowedError: If this session was never given it; code ``unknown_reference``.
        """
        oid = self._oid_of.get(handle)
        if oid is None:
            raise NotAllowedError(
                f"reference {handle} is not one of this session's (references end with the host's process); "
                "ask for it again",
                code="unknown_reference",
            )
        return connection.get(oid)

    def drop_all(self) -> None:
        """Close streams, cancel actions and timers, fail what waits for the mind."""
        for stream in self.streams.values():
            stream.close()
        self.streams.clear()
        for task in self.actions.values():
            task.cancel()
        self.actions.clear()
        for handle in self.timers.values():
            if handle is not None:
                handle.cancel()
        self.timers.clear()
