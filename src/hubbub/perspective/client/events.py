"""What the client's state machine tells its shell (see `hubbub.perspective.client.protocol`)."""

from __future__ import annotations

from typing import Any

import msgspec

from hubbub.kernel import HubbubError
from hubbub.wire import session as wire


class Pending:
    """One call that has no result yet.

    Attributes:
        message: What is sent; its id is 0 until it is sent for the first time, so that ids grow without holes.
        tag: The shell's own: whom to tell.
        cancelled: Nobody waits for it any more.
    """

    __slots__ = ("cancelled", "message", "tag")

    def __init__(self, message: wire.Call, tag: Any) -> None:
        self.message = message
        self.tag = tag
        self.cancelled = False

    @property
    def was_sent(self) -> bool:
        """Whether it may have reached the host."""
        return self.message.id != 0


class Subscription:
    """One watch or stream.

    Attributes:
        message: What is sent, again under each new epoch.
        is_stream: Whether items are wanted, not answers.
        tag: The shell's own: whom to tell.
        is_open: Whether the host has delivered anything of it in this epoch.
        was_open: Whether it ever has.
        has_value: Whether ``value`` can be patched.
        value: The newest answer. Its owner hands out copies: the next patch is applied to this one.
        tid: The tid of the newest answer, as text.
    """

    __slots__ = ("has_value", "is_open", "is_stream", "message", "tag", "tid", "value", "was_open")

    def __init__(self, message: wire.Watch, tag: Any, *, is_stream: bool) -> None:
        self.message = message
        self.tag = tag
        self.is_stream = is_stream
        self.is_open = self.was_open = self.has_value = False
        self.value: Any = None
        self.tid = ""

    @property
    def id(self) -> int:
        """Its number in the session."""
        return self.message.id


class Opened(msgspec.Struct, frozen=True):
    """The session is open: logged in, or resumed; ``fresh_epoch`` if it does not go on exactly where it stood."""

    welcome: wire.Welcome
    resumed: bool
    fresh_epoch: bool


class Finished(msgspec.Struct, frozen=True):
    """A call has its result. Told once for each call."""

    call: Pending
    value: Any = None
    error: HubbubError | None = None


class Answered(msgspec.Struct, frozen=True):
    """A watch has a new answer: `Subscription.value`. ``patch`` holds its operations, None if it came whole."""

    subscription: Subscription
    patch: list[list[Any]] | None = None


class Streamed(msgspec.Struct, frozen=True):
    """A stream has a new item."""

    subscription: Subscription
    item: Any


class Missed(msgspec.Struct, frozen=True):
    """A stream (None: the mind) misses something here; ``reason`` is ``lag`` or ``restart``."""

    subscription: Subscription | None
    reason: str


class Ended(msgspec.Struct, frozen=True):
    """A watch or stream has ended, with an error or because it was complete."""

    subscription: Subscription
    error: HubbubError | None = None


class MindCalled(msgspec.Struct, frozen=True):
    """The host calls the mind. ``id`` 0 wants no reply; ``epoch`` goes back with the reply."""

    id: int
    method: str
    args: list[Any]
    kwargs: dict[str, Any]
    epoch: str


class Parting(msgspec.Struct, frozen=True):
    """The host closes this connection.

    Attributes:
        reason: A short word.
        retry_s: Seconds after which one may come back, unless it is final.
        error: Why; what a login raises.
        is_final: There is no session to come back to.
    """

    reason: str
    retry_s: float
    error: HubbubError
    is_final: bool


Event = Opened | Finished | Answered | Streamed | Missed | Ended | MindCalled | Parting
