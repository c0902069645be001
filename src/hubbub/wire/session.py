"""The session wire: what a user's client and the host say to each other.

The same messages travel as MessagePack in frames (TCP, Unix) and as JSON objects (WebSocket, server-sent events,
long-poll). ``t`` names the kind. Tids and cursors are strings in both, because JavaScript has no 64-bit integers.

Values: arguments are plain MessagePack or JSON and are decoded by the annotations of what is called, never by
anything the client says. Results and answers are plain JSON in JSON, and in MessagePack the bytes of the value codec
(a tuple comes back as a tuple).

A **cursor** is ``"<epoch>.<seq>"``: the session's own clock. Deliveries are numbered one by one with ``n``; the epoch
changes when numbering starts afresh (host restarted, session lagged).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from hubbub.kernel import RemoteProtocolError

PROTOCOL = 1

MAX_STEPS = 64
"""Steps of a target. Each runs a query when the call or watch is looked at."""

MAX_CREDENTIALS = 16
MAX_CREDENTIAL_CHARS = 16 << 10
"""Of one credential: enough for a token, and little to do for whoever has to look at it before anybody is known."""

Credential = Annotated[str, Meta(max_length=MAX_CREDENTIAL_CHARS)]


class _Message(msgspec.Struct, tag_field="t", omit_defaults=True, gc=False):
    pass


class Step(msgspec.Struct, omit_defaults=True, gc=False):
    """One step on the way to a reference: the avatar's query (or the object's view) ``name``, with arguments."""

    name: str
    args: Raw = Raw()
    kwargs: Raw = Raw()


Target = Annotated[list[Step], Meta(max_length=MAX_STEPS)]


# --- client to host -------------------------------------------------------------------------------------------------


class Hello(_Message, tag="hello"):
    """Log in, or resume. First message of a connection.

    Attributes:
        protocol: Version of these messages.
        checker: Which checker the credentials are for, such as ``anonymous``; empty: the first that fits.
        credentials: What that checker wants; ``name``, ``password``, ``key``...
        mind: Whether the client accepts calls from the host.
        session, secret, cursor: Set to resume that session after what the cursor names.
        space: Which space of the host, on its own port; empty: the one that it serves to who names none.
    """

    protocol: int = PROTOCOL
    checker: str = ""
    credentials: Annotated[dict[Credential, Credential], Meta(max_length=MAX_CREDENTIALS)] = {}
    mind: bool = False
    session: str = ""
    secret: str = ""
    cursor: str = ""
    space: str = ""


class Call(_Message, tag="call"):
    """Run a command, query or action once. ``id`` grows by one with each call of the session (PE4).

    After a welcome with a new epoch a client repeats its unanswered calls in ascending order, before any new one.
    """

    id: int
    name: str
    target: Target = []
    ref: int = 0
    args: Raw = Raw()
    kwargs: Raw = Raw()


class Watch(_Message, tag="watch"):
    """Keep a query or view answered, or open a stream, until `Unwatch`. ``id`` is the client's own."""

    id: int
    name: str
    target: Target = []
    ref: int = 0
    args: Raw = Raw()
    kwargs: Raw = Raw()


class Unwatch(_Message, tag="unwatch"):
    """End a watch or stream. Answers already under way may still arrive."""

    id: int


class Cancel(_Message, tag="cancel"):
    """Give up waiting for a call: an action is cancelled, a command not begun is dropped."""

    id: int


class Ack(_Message, tag="ack"):
    """All deliveries up to this cursor have been taken in."""

    cursor: str


class Reply(_Message, tag="reply"):
    """The mind's answer to `MindCall` ``id``."""

    id: int
    value: Raw = Raw()
    error: Failure | None = None


class Ping(_Message, tag="ping"):
    """Are you there? Answered by `Pong` with the same number."""

    n: int = 0


class Bye(_Message, tag="bye"):
    """Log out: the session ends now, without grace."""


# --- host to client -------------------------------------------------------------------------------------------------


class Failure(msgspec.Struct, omit_defaults=True, gc=False):
    """Why something did not work. ``incident`` finds the cause in the host's log.

    ``kind`` names the error class for our own client: ``refused``, ``not_allowed``, ``limit``, ``invalid``,
    ``conflict``, ``disk_full``, ``outcome_unknown``, ``internal``, ``closed``.
    """

    kind: str
    code: str
    message: str = ""
    incident: str = ""


class Welcome(_Message, tag="welcome"):
    """The login or resumption worked.

    Attributes:
        session, secret: Show both to resume.
        cursor: Deliveries continue after this one. On a resumed session: same epoch as asked for if nothing was lost,
            a new epoch if the client has to open its watches and streams again and repeat its unanswered calls.
        resumed: Whether the session was there already.
        identity, name: Whom the checker vouched for.
        heartbeat_s: Send something at least this often; so does the host.
        grace_s: How long the session outlives its connection.
        max_bytes: The largest message the host takes.
    """

    session: str
    secret: str
    cursor: str
    resumed: bool
    identity: str
    name: str
    heartbeat_s: float
    grace_s: float
    max_bytes: int
    protocol: int = PROTOCOL


class Fault(_Message, tag="fault"):
    """The connection can't go on (bad login, garbage, lost session); it is closed after this."""

    kind: str
    code: str
    message: str = ""


class Result(_Message, tag="result"):
    """Outcome of call ``id``: a value or an error. ``tid`` is the commit's, empty if it stored nothing."""

    n: int
    id: int
    tid: str = ""
    value: Raw | UnsetType = UNSET
    error: Failure | None = None


class Answer(_Message, tag="answer"):
    """Newest answer of watch ``id`` at ``tid``: whole, or as a patch of the one before (see `hubbub.wire.patch`)."""

    n: int
    id: int
    tid: str
    value: Raw | UnsetType = UNSET
    patch: Raw | UnsetType = UNSET


class Item(_Message, tag="item"):
    """Next item of stream ``id``."""

    n: int
    id: int
    value: Raw


class Gap(_Message, tag="gap"):
    """Stream ``id`` (or 0: minds) misses something here; ``reason`` says why (``restart``, ``lag``, ``unsendable``)."""

    n: int
    id: int
    reason: str = ""


class End(_Message, tag="end"):
    """Watch or stream ``id`` has ended; with an error, or because it was complete."""

    n: int
    id: int
    error: Failure | None = None


class MindCall(_Message, tag="mind"):
    """The host calls the user's mind. ``id`` 0 wants no reply."""

    n: int
    id: int
    method: str
    args: Raw
    kwargs: Raw


class Lagged(_Message, tag="lagged"):
    """The backlog overflowed and was dropped (PE5): numbering starts again at ``cursor``. Watches send their newest
    answer by themselves, streams say `Gap`, unanswered calls are to be repeated with the same id."""

    cursor: str


class Pong(_Message, tag="pong"):
    """Answer to `Ping`."""

    n: int = 0


class Closing(_Message, tag="closing"):
    """The host is about to go away.

    ``reason`` is ``drain``, ``resume``, ``replaced`` or ``ended``. After the first two connect again in ``retry_s``
    seconds; after ``replaced`` another connection has the session, after ``ended`` nobody: do not.
    """

    reason: str
    retry_s: float = 0.5


ToHost = Hello | Call | Watch | Unwatch | Cancel | Ack | Reply | Ping | Bye
Delivery = Result | Answer | Item | Gap | End | MindCall
ToClient = Welcome | Fault | Delivery | Lagged | Pong | Closing

_encoders: dict[str, Any] = {"msgpack": msgspec.msgpack.Encoder(), "json": msgspec.json.Encoder()}
_to_host: dict[str, Any] = {
    "msgpack": msgspec.msgpack.Decoder(ToHost),
    "json": msgspec.json.Decoder(ToHost),
}
_to_client: dict[str, Any] = {
    "msgpack": msgspec.msgpack.Decoder(ToClient),
    "json": msgspec.json.Decoder(ToClient),
}


def encode(message: ToHost | ToClient, form: str) -> bytes:
    """Return ``message`` as bytes of ``form``, ``msgpack`` or ``json``."""
    return _encoders[form].encode(message)  # type: ignore[no-any-return]


def decode_to_host(data: bytes, form: str) -> ToHost:
    """Return the client's message in ``data``.

    Raises:
        RemoteProtocolError: If it is none; code ``garbled``, says where it fails.
    """
    try:
        return _to_host[form].decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"not a message of a Hubbub client: {error}", code="garbled"
        ) from None


def decode_to_client(data: bytes, form: str) -> ToClient:
    """Return the host's message in ``data``.

    Raises:
        RemoteProtocolError: If it is none; code ``garbled``.
    """
    try:
        return _to_client[form].decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"not a message of a Hubbub host: {error}", code="garbled"
        ) from None


def cursor_text(epoch: str, seq: int) -> str:
    """Return a cursor's text."""
    return f"{epoch}.{seq}"


def parse_cursor(text: str) -> tuple[str, int]:
    """Return (epoch, seq) of a cursor.

    Raises:
        RemoteProtocolError: If ``text`` is no cursor; code ``garbled``.
    """
    epoch, dot, seq = text.rpartition(".")
    if not dot or not seq.isdecimal() or len(seq) > 16:
        raise RemoteProtocolError(f"{text!r} is not a cursor", code="garbled")
    return epoch, int(seq)


_plain: dict[str, Any] = {"msgpack": msgspec.msgpack.Decoder(), "json": msgspec.json.Decoder()}


def plain_value(raw: Raw, form: str) -> Any:
    """Return the plain value that a client sent as ``raw``, such as the answer of its mind; None for nothing.

    Raises:
        RemoteProtocolError: If it is none; code ``garbled``.
    """
    if not bytes(raw):
        return None
    try:
        return _plain[form].decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a value: {error}", code="garbled") from None
