"""Live Python objects, shared.

Write ordinary classes. Their instances persist, change only in transactions, and are seen live by every process, user
and browser that is connected.

Names are imported when they are first used, so that a peer's script does not pay for the web face.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubbub import sync
    from hubbub.app import Hub
    from hubbub.gateway import Gateway
    from hubbub.kernel import (
        AccessError,
        AddressInUseError,
        BlockingError,
        BrokenError,
        ClosedError,
        ConfigurationError,
        ConflictError,
        CorruptRecordError,
        DiskFullError,
        FeedGapError,
        HubbubError,
        InvalidArgumentsError,
        Job,
        JobStoppedError,
        LimitError,
        Limits,
        LoginFailedError,
        NewerVersionError,
        NotAllowedError,
        NoTransactionError,
        NotUniqueError,
        OutcomeUnknownError,
        PackedError,
        ProtocolError,
        ReadOnlyError,
        Refused,
        RemoteError,
        ReservedError,
        SchemaError,
        SnapshotGoneError,
        SpaceInUseError,
        StoreError,
        TransientError,
        UndoError,
        UnknownClassError,
        UnknownObjectError,
        UnstorableError,
        UpgradeFailedError,
    )
    from hubbub.mount import Space, open, undo  # noqa: A004 - hubbub.open is the name
    from hubbub.perspective.avatar import Avatar, LiveSession, Mind, Minds, Timer
    from hubbub.perspective.checkers import Anonymous, Passwords
    from hubbub.perspective.client import Client, ClientState, login
    from hubbub.perspective.declarations import action, command, query, stream, view
    from hubbub.perspective.identity import Identity
    from hubbub.perspective.realm import Realm
    from hubbub.perspective.sending import publish, subscribe
    from hubbub.space.blob import Blob
    from hubbub.space.containers import (
        Collection,
        Counter,
        FieldIndex,
        IntIntMap,
        IntMap,
        IntSet,
        List,
        Log,
        Map,
        Set,
        SortedMap,
        SortedSet,
        merge_attributes,
    )
    from hubbub.space.context import annotate, note, now, random, savepoint, tid, unique
    from hubbub.space.defaults import default_factory
    from hubbub.space.indexed import Indexed
    from hubbub.space.persistent import Ephemeral, Persistent
    from hubbub.space.presence import Presence
    from hubbub.space.registering import register
    from hubbub.space.root import Root
    from hubbub.space.steps import upgrade
    from hubbub.space.weak import WeakRef

_PLACES = {
    "hubbub.app": ("Hub",),
    "hubbub.gateway": ("Gateway",),
    "hubbub.kernel": (
        "AccessError",
        "AddressInUseError",
        "BlockingError",
        "BrokenError",
        "ClosedError",
        "ConfigurationError",
        "ConflictError",
        "CorruptRecordError",
        "DiskFullError",
        "FeedGapError",
        "HubbubError",
        "InvalidArgumentsError",
        "Job",
        "JobStoppedError",
        "LimitError",
        "Limits",
        "LoginFailedError",
        "NewerVersionError",
        "NoTransactionError",
        "NotAllowedError",
        "NotUniqueError",
        "OutcomeUnknownError",
        "PackedError",
        "ProtocolError",
        "ReadOnlyError",
        "Refused",
        "RemoteError",
        "ReservedError",
        "SnapshotGoneError",
        "SchemaError",
        "SpaceInUseError",
        "StoreError",
        "TransientError",
        "UndoError",
        "UnknownClassError",
        "UnknownObjectError",
        "UnstorableError",
        "UpgradeFailedError",
    ),
    "hubbub.mount": (
        "Space",
        "open",
        "undo",
    ),
    "hubbub.perspective.avatar": (
        "Avatar",
        "LiveSession",
        "Mind",
        "Minds",
        "Timer",
    ),
    "hubbub.perspective.checkers": (
        "Anonymous",
        "Passwords",
    ),
    "hubbub.perspective.client": ("Client", "ClientState", "login"),
    "hubbub.perspective.declarations": (
        "action",
        "command",
        "query",
        "stream",
        "view",
    ),
    "hubbub.perspective.identity": ("Identity",),
    "hubbub.perspective.realm": ("Realm",),
    "hubbub.perspective.sending": (
        "publish",
        "subscribe",
    ),
    "hubbub.space.blob": ("Blob",),
    "hubbub.space.containers": (
        "Collection",
        "Counter",
        "FieldIndex",
        "IntIntMap",
        "IntMap",
        "IntSet",
        "List",
        "Log",
        "Map",
        "Set",
        "SortedMap",
        "SortedSet",
        "merge_attributes",
    ),
    "hubbub.space.context": (
        "annotate",
        "note",
        "now",
        "random",
        "savepoint",
        "tid",
        "unique",
    ),
    "hubbub.space.defaults": ("default_factory",),
    "hubbub.space.indexed": ("Indexed",),
    "hubbub.space.persistent": (
        "Ephemeral",
        "Persistent",
    ),
    "hubbub.space.presence": ("Presence",),
    "hubbub.space.registering": ("register",),
    "hubbub.space.root": ("Root",),
    "hubbub.space.steps": ("upgrade",),
    "hubbub.space.weak": ("WeakRef",),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "sync":
        return import_module("hubbub.sync")
    module = _PLACE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'hubbub' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "AccessError",
    "AddressInUseError",
    "Anonymous",
    "Avatar",
    "Blob",
    "BlockingError",
    "BrokenError",
    "Client",
    "ClientState",
    "ClosedError",
    "Collection",
    "ConfigurationError",
    "ConflictError",
    "CorruptRecordError",
    "Counter",
    "DiskFullError",
    "Ephemeral",
    "FeedGapError",
    "FieldIndex",
    "Gateway",
    "Hub",
    "HubbubError",
    "Identity",
    "Indexed",
    "IntIntMap",
    "IntMap",
    "IntSet",
    "InvalidArgumentsError",
    "Job",
    "JobStoppedError",
    "LimitError",
    "Limits",
    "List",
    "LiveSession",
    "Log",
    "LoginFailedError",
    "Map",
    "Mind",
    "Minds",
    "NewerVersionError",
    "NoTransactionError",
    "NotAllowedError",
    "NotUniqueError",
    "OutcomeUnknownError",
    "PackedError",
    "Passwords",
    "Persistent",
    "Presence",
    "ProtocolError",
    "ReadOnlyError",
    "Realm",
    "Refused",
    "RemoteError",
    "ReservedError",
    "Root",
    "SchemaError",
    "Set",
    "SnapshotGoneError",
    "SortedMap",
    "SortedSet",
    "Space",
    "SpaceInUseError",
    "StoreError",
    "Timer",
    "TransientError",
    "UndoError",
    "UnknownClassError",
    "UnknownObjectError",
    "UnstorableError",
    "UpgradeFailedError",
    "WeakRef",
    "action",
    "annotate",
    "command",
    "default_factory",
    "login",
    "merge_attributes",
    "note",
    "now",
    "open",
    "publish",
    "query",
    "random",
    "register",
    "savepoint",
    "stream",
    "subscribe",
    "sync",
    "tid",
    "undo",
    "unique",
    "upgrade",
    "view",
]
