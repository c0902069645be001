"""Live Python objects, shared.

Write ordinary classes. Their instances persist, change only in transactions, and are seen live by every process, user
and browser that is connected.
"""

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
    HubbubError,
    InvalidArgumentsError,
    LimitError,
    Limits,
    LoginFailedError,
    NotAllowedError,
    NoTransactionError,
    OutcomeUnknownError,
    ProtocolError,
    ReadOnlyError,
    Refused,
    RemoteError,
    SpaceInUseError,
    StoreError,
    TransientError,
    UnknownClassError,
    UnknownObjectError,
    UnstorableError,
)
from hubbub.mount import Space, open  # noqa: A004 - hubbub.open is the name
from hubbub.perspective.avatar import Avatar, LiveSession, Mind, Minds, Timer
from hubbub.perspective.checkers import Anonymous, Passwords
from hubbub.perspective.client import login
from hubbub.perspective.declarations import action, command, query, stream, view
from hubbub.perspective.identity import Identity
from hubbub.perspective.realm import Realm
from hubbub.perspective.sending import publish, subscribe
from hubbub.space.classes import register
from hubbub.space.containers import List, Log, Map, SortedMap
from hubbub.space.context import now, random, unique
from hubbub.space.persistent import Ephemeral, Persistent
from hubbub.space.presence import Presence
from hubbub.space.root import Root

__all__ = [
    "AccessError",
    "AddressInUseError",
    "Anonymous",
    "Avatar",
    "BlockingError",
    "BrokenError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "CorruptRecordError",
    "DiskFullError",
    "Ephemeral",
    "Gateway",
    "Hub",
    "HubbubError",
    "Identity",
    "InvalidArgumentsError",
    "LimitError",
    "Limits",
    "List",
    "LiveSession",
    "Log",
    "LoginFailedError",
    "Map",
    "Mind",
    "Minds",
    "NoTransactionError",
    "NotAllowedError",
    "OutcomeUnknownError",
    "Passwords",
    "Persistent",
    "Presence",
    "ProtocolError",
    "ReadOnlyError",
    "Realm",
    "Refused",
    "RemoteError",
    "Root",
    "SortedMap",
    "Space",
    "SpaceInUseError",
    "StoreError",
    "Timer",
    "TransientError",
    "UnknownClassError",
    "UnknownObjectError",
    "UnstorableError",
    "action",
    "command",
    "login",
    "now",
    "open",
    "publish",
    "query",
    "random",
    "register",
    "stream",
    "subscribe",
    "unique",
    "view",
]
