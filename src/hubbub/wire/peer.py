"""The peer wire: what a mounted space and its host say to each other. MessagePack arrays in frames.

The host's messages leave on one ordered stream: when a peer has read `Committed` or `Loaded`, it has read every
`Invalidate` that came before it. A peer asks with an ``id`` of its own; answers carry it; invalidations carry none.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec

from hubbub.kernel import Label, Record, RecordFields, RemoteProtocolError
from hubbub.wire.peer_asking import (
    Answer,
    Ask,
    DropUpload,
    GetPiece,
    LoadMany,
    Piece,
    Progress,
    Put,
    PutPiece,
    StopJob,
)

__all__ = [
    "PROTOCOL",
    "Answer",
    "Ask",
    "Closing",
    "Commit",
    "Committed",
    "Drop",
    "DropCache",
    "DropUpload",
    "Failed",
    "Fault",
    "Fed",
    "FedCommit",
    "Feed",
    "Finish",
    "Follow",
    "GetPiece",
    "Invalidate",
    "Load",
    "LoadMany",
    "Loaded",
    "More",
    "Mount",
    "Mounted",
    "OidBlock",
    "Oids",
    "Piece",
    "Ping",
    "Pong",
    "Progress",
    "Put",
    "PutPiece",
    "StopJob",
    "ToHost",
    "ToPeer",
    "Told",
    "Vote",
    "Voted",
    "decode_to_host",
    "decode_to_peer",
    "encode",
    "protocol_of",
    "refusal_of",
    "written",
]

PROTOCOL = 5


class _Message(msgspec.Struct, array_like=True, gc=False):
    pass


# --- peer to host ---------------------------------------------------------------------------------------------------


class Mount(_Message, tag=1):
    """First message: mount ``space``. ``known_tid`` is the newest tid whose invalidations were taken in (0: none).

    ``mount_key`` is a secret of this mount. Who comes back with it has its votes and uploads still.
    """

    protocol: int
    space: str
    token: str
    known_tid: int
    read_only: bool
    host_epoch: str = ""
    mount_key: bytes = b""


class Load(_Message, tag=2):
    """The record of ``oid`` at tid ``at``, and what is likely to be wanted next: about ``room`` bytes of it.

    ``forget`` says that the peer has dropped records: what it was sent may be sent again.
    """

    id: int
    oid: int
    at: int
    room: int = 0
    forget: bool = False


class Commit(_Message, tag=3):
    """Commit a changeset (see `hubbub.kernel.Changeset`). ``key`` makes a repeat harmless.

    ``blobs`` names uploads, see `PutPiece`.
    """

    id: int
    key: bytes
    base: int
    writes: list[Record]
    current: list[tuple[int, int]]
    changes: dict[int, Any]
    label: Label
    done: list[bytes] = []
    blobs: dict[int, str] = {}
    restored_tid: int = 0


class Oids(_Message, tag=4):
    """Hand out ``count`` new oids."""

    id: int
    count: int


class Ping(_Message, tag=5):
    """Answered by `Pong` behind everything that was sent before: a round trip that makes a peer current."""

    id: int


class Follow(_Message, tag=6):
    """Tell of commits: the last ``last`` that are stored, then, if ``go_on``, each as it becomes durable.

    Answered by `Told` for each. Without ``go_on`` a `Pong` comes behind the last.
    """

    id: int
    last: int
    go_on: bool


class More(_Message, tag=7):
    """Go on where the last `Loaded` ended: about ``room`` bytes of what is likely to be wanted next, at tid ``at``."""

    id: int
    at: int
    room: int


class Feed(_Message, tag=8):
    """The commits above tid ``after``, in order: at most ``most`` of them, none left out."""

    id: int
    after: int
    most: int


class Vote(_Message, tag=9):
    """Check a changeset as `Commit` does and reserve its objects until `Finish`, `Drop` or a time-out."""

    id: int
    base: int
    writes: list[Record]
    current: list[tuple[int, int]]
    changes: dict[int, Any]
    label: Label
    blobs: dict[int, str] = {}
    restored_tid: int = 0


class Finish(_Message, tag=10):
    """Store the vote ``number``; answered by `Committed`. ``key`` and ``done`` are as in `Commit`."""

    id: int
    number: int
    key: bytes
    done: list[bytes] = []


class Drop(_Message, tag=11):
    """Give the vote ``number`` up. Not answered; one that is over does no harm."""

    number: int


# --- host to peer ---------------------------------------------------------------------------------------------------


class Mounted(_Message, tag=20):
    """Mounted. ``tid`` is the durable tid. ``changed`` lists what changed since ``known_tid``; None: drop it all."""

    tid: int
    host_epoch: str
    changed: list[int] | None
    first_oid: int
    oid_count: int
    heartbeat_s: float
    max_bytes: int
    lease_s: float = 60.0
    space_id: str = ""


class Loaded(_Message, tag=21):
    """Answer to `Load`: the record asked for first, empty if there is no such object; and to `More`. Then neighbours.

    ``goes_on`` says that there are more of them.
    """

    id: int
    records: list[Record]
    goes_on: bool = False


class Committed(_Message, tag=22):
    """Answer to `Commit`: durable as ``tid``. ``merged`` lists oids whose stored state is not the one sent; ``records``
    are the small ones of these states. ``kept`` are those of ``merged`` that this commit has not written at all."""

    id: int
    tid: int
    merged: list[int]
    records: list[Record] = []
    kept: list[int] = []


class Failed(_Message, tag=23):
    """An error instead of an answer. For a conflict the peer's side may be able to merge: ``record`` is the committed
    one, ``base`` the one that was read (SP3)."""

    id: int
    kind: str
    message: str
    oid: int = 0
    class_name: str = ""
    read_tid: int = 0
    committed_tid: int = 0
    record: RecordFields | None = None
    base: RecordFields | None = None


class OidBlock(_Message, tag=24):
    """Answer to `Oids`: ``count`` oids from ``first`` on are yours alone."""

    id: int
    first: int
    count: int


class Pong(_Message, tag=25):
    """Answer to `Ping`."""

    id: int
    tid: int


class Invalidate(_Message, tag=26):
    """Commits up to ``tid`` are durable; these objects changed in them. Your copies are old.

    ``records`` are the states of some of them as of ``tid``: of those that the peer is likely to ask for.
    """

    tid: int
    oids: list[int]
    records: list[Record] = []


class DropCache(_Message, tag=27):
    """Too many invalidations were waiting: all copies may be old, as of ``tid``."""

    tid: int


class Fault(_Message, tag=28):
    """The connection can't go on."""

    kind: str
    message: str


class Closing(_Message, tag=29):
    """The host is about to go away; mount again after ``retry_s``."""

    reason: str
    retry_s: float


class Told(_Message, tag=30):
    """One commit, for `Follow` ``id``. ``ms`` is how long it took from its beginning to its fsync, -1 if unknown."""

    id: int
    tid: int
    label: Label
    objects: int
    byte_count: int
    ms: float


class FedCommit(msgspec.Struct, array_like=True, gc=False):
    """One commit in `Fed`: see `hubbub.store.FeedEntry`."""

    tid: int
    label: Label
    oids: tuple[int, ...]
    byte_count: int


class Fed(_Message, tag=31):
    """Answer to `Feed`. Nothing is in it only where there is nothing yet."""

    id: int
    commits: list[FedCommit]


class Voted(_Message, tag=32):
    """Answer to `Vote`. ``merged`` is as in `Committed`."""

    id: int
    number: int
    merged: list[int]


ToHost = (
    Mount
    | Load
    | Commit
    | Oids
    | Ping
    | Follow
    | More
    | Feed
    | Vote
    | Finish
    | Drop
    | Ask
    | StopJob
    | PutPiece
    | DropUpload
    | GetPiece
    | LoadMany
)
ToPeer = (
    Mounted
    | Loaded
    | Committed
    | Failed
    | OidBlock
    | Pong
    | Invalidate
    | DropCache
    | Fault
    | Closing
    | Told
    | Fed
    | Voted
    | Answer
    | Progress
    | Put
    | Piece
)

_encoder = msgspec.msgpack.Encoder()
_to_host: msgspec.msgpack.Decoder[ToHost] = msgspec.msgpack.Decoder(ToHost)
_to_peer: msgspec.msgpack.Decoder[ToPeer] = msgspec.msgpack.Decoder(ToPeer)


_fields = attrgetter("oid", "tid", "class_name", "refs", "payload")


def written(records: Iterable[Record]) -> list[Any]:
    """Return ``records`` as a message has them: without their memos."""
    return list(map(_fields, records))


def encode(message: ToHost | ToPeer) -> bytes:
    """Return ``message`` as MessagePack."""
    return _encoder.encode(message)


_first_two: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(list[Any])


def protocol_of(data: bytes) -> int | None:
    """Return the version in a `Mount`, also one that looks otherwise from there on; None if it is none."""
    try:
        parts = _first_two.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(parts) > 1 and parts[0] == 1 and type(parts[1]) is int:
        return int(parts[1])
    return None


def refusal_of(protocol: int) -> str | None:
    """Return what is said to a peer that speaks version ``protocol``; None if that is the one spoken here."""
    if protocol == PROTOCOL:
        return None
    whose = "the peer's" if protocol < PROTOCOL else "the host's"
    return (
        f"this host speaks version {PROTOCOL} of the peer protocol and the peer version {protocol}: "
        f"upgrade {whose} hubbub"
    )


def decode_to_host(data: bytes) -> ToHost:
    """Return the peer's message in ``data``.

    Raises:
        RemoteProtocolError: If it is none; code ``garbled``.
    """
    try:
        return _to_host.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"not a message of a Hubbub peer: {error}", code="garbled"
        ) from None


def decode_to_peer(data: bytes) -> ToPeer:
    """Return the host's message in ``data``.

    Raises:
        RemoteProtocolError: If it is none; code ``garbled``.
    """
    try:
        return _to_peer.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"not a message of a Hubbub host: {error}", code="garbled"
        ) from None
