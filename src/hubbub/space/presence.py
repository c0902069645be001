"""Presence: who is here, kept in the host's memory and forgotten with the session (never stored)."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

from hubbub.space import context
from hubbub.space.persistent import Ephemeral, Persistent

V = TypeVar("V")


class PresenceNotice:
    """Tells the host that a session has an entry in a presence, so that it is forgotten with the session."""

    __slots__ = ("oid", "session")

    def __init__(self, session: Any, oid: int) -> None:
        self.session = session
        self.oid = oid


class Entries(Ephemeral, name="hubbub.Entries"):
    """What a `Presence` holds: key -> (value, ids of the sessions that keep it there)."""

    _hubbub_implicit = True

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Any, tuple[str, ...]]] = {}


class Presence(Persistent, Generic[V], name="hubbub.Presence"):
    """A mapping whose entries last as long as the session that made them.

    A key may be an avatar: it stands for the avatar's ``name``. An entry made for several sessions of one user is
    gone with the last of them. In a plain unit test, without a hub, it is an ordinary dictionary.

    Cost: every change writes all entries into the host's memory, O(number of entries); nothing reaches the disk.
    """

    def _entries(self) -> Any:
        jar = self._p_jar
        if jar is None:
            transaction = context.current()
            if transaction is None:
                return self.__dict__.setdefault("_v_entries", Entries())
            jar = transaction.connection
        return jar.companion(self, Entries)

    def __setitem__(self, key: Any, value: V) -> None:
        name = _name(key)
        box = self._entries()
        old = box.entries.get(name)
        sessions = old[1] if old else ()
        transaction = context.current()
        session = transaction.session if transaction is not None else None
        if session is not None and transaction is not None:
            if session.id not in sessions:
                sessions = (*sessions, session.id)
            oid = int.from_bytes(self._p_oid or b"", "big")
            transaction.notices.append(PresenceNotice(session.id, oid))
        box.entries = {**box.entries, name: (value, sessions)}

    def __getitem__(self, key: Any) -> V:
        value: V = self._entries().entries[_name(key)][0]
        return value

    def __delitem__(self, key: Any) -> None:
        box = self._entries()
        entries = dict(box.entries)
        del entries[_name(key)]
        box.entries = entries

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove an entry and return its value, as `dict.pop`."""
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        """Return an entry's value, as `dict.get`."""
        entry = self._entries().entries.get(_name(key))
        return entry[0] if entry else default

    def __contains__(self, key: object) -> bool:
        return _name(key) in self._entries().entries

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries().entries))

    def __len__(self) -> int:
        return len(self._entries().entries)

    def keys(self) -> list[str]:
        """Return the names that are here, in the order in which they came."""
        return list(self._entries().entries)

    def values(self) -> list[V]:
        """Return the values."""
        return [value for value, _ in self._entries().entries.values()]

    def items(self) -> list[tuple[str, V]]:
        """Return (name, value) of all who are here."""
        return [(name, value) for name, (value, _) in self._entries().entries.items()]

    def forget_session(self, session_id: str) -> None:
        """Take ``session_id`` out; entries that no other session keeps are gone."""
        box = self._entries()
        kept: dict[str, tuple[Any, tuple[str, ...]]] = {}
        for name, (value, sessions) in box.entries.items():
            if session_id in sessions:
                sessions = tuple(s for s in sessions if s != session_id)
                if not sessions:
                    continue
            kept[name] = (value, sessions)
        if kept != box.entries:
            box.entries = kept


MutableMapping.register(Presence)


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    name = getattr(key, "name", None)
    if isinstance(name, str):
        return name
    return str(key)
